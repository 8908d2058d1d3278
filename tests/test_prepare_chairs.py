from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
from command_line import run_command
from PIL import Image

from fastsep.data.chairs.reader import load_views
from fastsep.data.chairs.views import decode


def make_chair(root, name, views=62):
    renders = root / name / "renders"
    renders.mkdir(parents=True)
    for view in range(views):
        Image.new("RGB", (600, 600), (view, 2, 3)).save(renders / f"image_{view:03d}.png", compress_level=1)
    return renders


def test_decodes_all_chairs_by_name(tmp_path, capsys):
    make_chair(tmp_path / "src", "b")
    renders = make_chair(tmp_path / "src", "a")
    (tmp_path / "src" / "all_chair_names.mat").write_bytes(b"not a chair")
    (renders / "._image_000.png").write_bytes(b"what macOS leaves beside a copied file")
    (tmp_path / "src" / "._a" / "renders").mkdir(parents=True)
    out = tmp_path / "out" / "chairs.npy"
    status, stdout, _ = run_command("prepare_chairs", tmp_path / "src", "--out", out, capsys=capsys)
    assert status == 0 and "2 chairs" in stdout
    assert sorted(path.name for path in out.parent.iterdir()) == ["chairs.npy", "chairs.txt"]
    views = np.load(out)
    assert views.shape == (2, 62, 3, 64, 64) and views.dtype == np.uint8
    np.testing.assert_array_equal(views[0, 7], decode(renders / "image_007.png"))
    np.testing.assert_array_equal(load_views(out), views)
    assert out.stat().st_size == 4096 + views.nbytes + 4 * 2 + 12  # with checksums
    assert out.with_suffix(".txt").read_text() == "a\nb\n"


def test_bad_input_is_one_line_and_status_2(tmp_path, capsys):
    out = tmp_path / "chairs.npy"
    for prepare, message in (
        (lambda: None, "has no CHAIR/renders"),
        (lambda: make_chair(tmp_path / "src", "a", views=61), "has 61 PNG files"),
        (lambda: (tmp_path / "src/a/renders/z.png").write_bytes(b"broken"), "z.png is not a whole PNG"),
    ):
        prepare()
        status, _, stderr = run_command("prepare_chairs", tmp_path / "src", "--out", out, capsys=capsys)
        assert status == 2 and message in stderr
        assert stderr.splitlines()[-1].startswith("error: ")
    assert not list(tmp_path.glob("chairs*"))


def test_notes_beside_it_are_not_written_over(tmp_path, capsys):
    make_chair(tmp_path / "src", "a")
    (tmp_path / "chairs.txt").write_text("my notes")
    status, _, stderr = run_command("prepare_chairs", tmp_path / "src", "--out", tmp_path / "chairs.npy", capsys=capsys)
    assert status == 2 and "chairs.txt is in the way" in stderr
    assert (tmp_path / "chairs.txt").read_text() == "my notes" and not (tmp_path / "chairs.npy").exists()


def test_a_full_disk_is_one_line_and_no_bus_error(tmp_path):
    make_chair(tmp_path / "src", "a")
    (tmp_path / "out").mkdir()
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "from fastsep import entry, prepare_chairs; entry.run(prepare_chairs.main)"
    )
    command = [sys.executable, "-c", code, tmp_path / "src", "--out", tmp_path / "out" / "chairs.npy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot write {tmp_path / 'out' / 'chairs.npy'}")
    assert not list((tmp_path / "out").iterdir())


def test_space_is_looked_at_first(tmp_path, capsys, monkeypatch):
    make_chair(tmp_path / "src", "a")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "total used free")(10, 10, 0))
    status, _, stderr = run_command("prepare_chairs", tmp_path / "src", "--out", tmp_path / "x.npy", capsys=capsys)
    assert status == 2 and "0.00 MB free, 0.76 MB needed: free some or choose another --out" in stderr
