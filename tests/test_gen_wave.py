"""The command line gen_wave as a user meets it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from disk_order import safely_named

from fastsep import __version__, entry, gen_wave
from fastsep.data.formats.hdf5 import read_attribute
from fastsep.data.wave import files as wave_files

SMALL = ["--size", "3", "--frames", "20", "--grid", "16"]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["gen_wave", *arguments])
    try:
        entry.run(gen_wave.main)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_hdf5_file_describes_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "--out", str(tmp_path / "new" / "folder"), *SMALL, "--dt", "5e-4", "--seed", "7") == 0
    with h5py.File(tmp_path / "new" / "folder" / "wave.h5") as file:
        assert file["simulations"].shape == (3, 20, 16, 16)
        assert file["simulations"].dtype == np.float32
        assert file["c"].shape == file["f0"].shape == (3,)
        assert file["pixel_rows"].shape == file["pixel_columns"].shape == (100,)
        given = {"size": 3, "frames": 20, "grid": 16, "dt": 5e-4, "seed": 7, "fastsep_version": __version__}
        assert {name: read_attribute(file, name) for name in given} == given


def test_pt_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "--out", str(tmp_path), *SMALL, "--format", "pt") == 0
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {"homogenous_wave0.pt", "homogenous_wave1.pt", "homogenous_wave2.pt", "rand_w.pt", "rand_h.pt"}
    saved = torch.load(tmp_path / "data" / "homogenous_wave1.pt", weights_only=True)
    assert saved["simul"].shape == (20, 16, 16)
    assert saved["c"] == wave_files.draw(3, 42)[1][1]


@pytest.mark.parametrize("folder", [".", "data"])
def test_no_file_hides_a_set_of_pt_files(folder, tmp_path: Path, monkeypatch, capsys) -> None:
    assert call(monkeypatch, "--out", str(tmp_path), *SMALL, "--format", "pt") == 0
    assert call(monkeypatch, "--out", str(tmp_path / folder), *SMALL) == 2
    assert "holds a set of .pt files, in place of which" in capsys.readouterr().err
    assert not list(tmp_path.rglob("wave.h5"))


@pytest.mark.parametrize(("format", "files"), [("hdf5", 1), ("pt", 5)])
def test_files_are_on_the_disk_before_they_have_their_names(format, files, tmp_path: Path, monkeypatch) -> None:
    with safely_named() as named:
        assert call(monkeypatch, "--out", str(tmp_path), *SMALL, "--format", format) == 0
    assert len(named) == files


def test_sequences_of_another_program_are_left_alone(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "data").mkdir()
    theirs = tmp_path / "data" / "homogenous_wave7.pt"
    torch.save({"simul": torch.zeros(2, 8, 8), "c": 300.0}, theirs)
    before = theirs.read_bytes()
    assert call(monkeypatch, "--out", str(tmp_path), *SMALL, "--format", "pt") == 2
    assert "was not made by this program" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "data").iterdir()] == [theirs.name] and theirs.read_bytes() == before
    theirs.unlink()
    for size in ("3", "2"):  # an older set of ours goes
        assert call(monkeypatch, "--out", str(tmp_path), *SMALL, "--size", size, "--format", "pt") == 0
    assert len(list((tmp_path / "data").glob("homogenous_wave*.pt"))) == 2


def test_a_set_whose_folder_lies_elsewhere_is_replaced_there(tmp_path: Path, monkeypatch) -> None:
    """``os.replace`` moves within one disk alone."""
    disk, out, replace = tmp_path / "disk", tmp_path / "out", os.replace
    out.mkdir()
    (out / "data").symlink_to(disk)  # a mount point itself

    def within_a_disk(source, target):
        if len({disk in Path(path).resolve().parents for path in (source, target)}) > 1:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        replace(source, target)

    monkeypatch.setattr(os, "replace", within_a_disk)
    asked = []
    monkeypatch.setattr("fastsep.data.wave.generate.require_space", lambda place, size: asked.append(place))
    for size in (3, 2):
        assert call(monkeypatch, "--out", str(out), *SMALL, "--size", str(size), "--format", "pt") == 0
        assert len(os.listdir(disk)) == size + 2
    assert (out / "data").is_symlink() and os.listdir(out) == ["data"] and set(asked) == {disk}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wave.h5", "would be read in place of a new set"),
        ("homogenous_wave3.pt", "would be read in place of a new set"),
        ("data/rand_w.pt", "lies there without its sequences"),
    ],
)
def test_files_that_a_new_set_would_collide_with_are_left_alone(
    name, words, tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / name).write_text("theirs")
    assert call(monkeypatch, "--out", str(tmp_path), *SMALL, "--format", "pt") == 2
    assert words in capsys.readouterr().err and (tmp_path / name).read_text() == "theirs"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "-3"], "set --size"),
        (["--size", "0"], "set --size"),
        (["--frames", "0"], "set --frames"),
        (["--grid", "4"], "set --grid to a whole number from 5"),
        (["--grid", "-64"], "set --grid to a whole number from 5"),
        (["--dt", "0.01"], "set --dt to a number above 0, up to 0.002165"),
        (["--dt", "0"], "set --dt"),
        (["--dt", "nan"], "set --dt"),
        (["--seed", "-1"], "set --seed"),
        (["--size", "1000000000"], "GB free"),
    ],
)
def test_bad_settings(arguments: list[str], message: str, tmp_path: Path, monkeypatch, capsys) -> None:
    assert call(monkeypatch, "--out", str(tmp_path / "out"), *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_gpu_without_gpu(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert call(monkeypatch, "--out", str(tmp_path), "--gpu") == 2
    assert "--gpu needs a GPU" in capsys.readouterr().err


def test_folder_that_cannot_be(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "file").write_text("mine")
    assert call(monkeypatch, "--out", str(tmp_path / "file"), *SMALL) == 2
    assert "cannot write" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("format", ["hdf5", "pt"])
def test_full_disk_leaves_nothing(format: str, tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: both show as an error in the middle of writing."""
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
        "from fastsep import entry, gen_wave; entry.run(gen_wave.main)"
    )
    arguments = ["--out", str(tmp_path), "--size", "4", "--frames", "60", "--grid", "16", "--format", format]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_space_is_checked_first(tmp_path: Path, monkeypatch, capsys) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 0))
    assert call(monkeypatch, "--out", str(tmp_path), *SMALL) == 2
    assert "0.00 MB free" in capsys.readouterr().err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_stopped_run_leaves_the_old_file(sign: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "wave.h5").write_text("old")
    script = (
        "import fastsep.data.wave.generate as made; made.require_space = lambda *_: None;"  # no disk is that small
        "from fastsep import entry, gen_wave; entry.run(gen_wave.main)"
    )
    command = [sys.executable, "-c", script, "--out", str(tmp_path), "--size", "2000"]
    options = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # Tests that a script runs in the background would hand on that a signal is ignored.
    heed = partial(signal.signal, sign, signal.SIG_DFL)
    with subprocess.Popen(command, preexec_fn=heed, **options) as process:
        for _ in range(1200):  # until it writes
            if (tmp_path / ".wave.part.h5").exists():
                break
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(sign)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + sign, error
    assert error.splitlines()[-1] == f"stopped by {sign.name}: no file is half written"
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["wave.h5"]
    assert (tmp_path / "wave.h5").read_text() == "old"
