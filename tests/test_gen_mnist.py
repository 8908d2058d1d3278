from __future__ import annotations

from command_line import run_command

from fastsep.data.mnist.reader import draw_test_scene
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.mnist.videos import read_scene


def test_writes_what_the_data_set_would_draw(tmp_path, capsys):
    out = tmp_path / "videos.h5"
    small = ("--digits", "sklearn", "--videos", 7, "--frames", 12, "--n-digits", 3, "--seed", 5)
    status, stdout, _ = run_command("gen_mnist", "--out", out, *small, capsys=capsys)
    assert status == 0
    assert "7 videos of 12 frames" in stdout and "not MNIST" in stdout
    expected = draw_test_scene(MovingMNIST(digits="sklearn", test_videos=7, test_frames=12, n_digits=3), 5)
    assert read_scene(out).positions.equal(expected.positions)
    assert read_scene(out).digit_ids.equal(expected.digit_ids)


def test_bad_input_is_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"broken")
    out = tmp_path / "videos.h5"
    status, _, stderr = run_command("gen_mnist", "--out", out, "--data", tmp_path, capsys=capsys)
    assert status == 2
    assert stderr.startswith("error: ") and len(stderr.splitlines()) == 1
    status, _, stderr = run_command("gen_mnist", "--out", out, "--n-digits", 9, capsys=capsys)
    assert status == 2 and "set --n-digits to a whole number from 1 to 3" in stderr
    assert not list(tmp_path.glob("videos*"))
