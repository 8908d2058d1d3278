from __future__ import annotations

import runpy
import sys

import pytest

from fastsep.data.mnist import MovingMNIST
from fastsep.data.mnist_videos import read_scene


@pytest.fixture
def gen_mnist(monkeypatch, capsys):
    """The command line in this process: exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gen_mnist", *map(str, arguments)])
        status = 0
        try:
            runpy.run_module("fastsep.gen_mnist", run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_writes_what_the_data_set_would_draw(tmp_path, gen_mnist):
    out = tmp_path / "videos.h5"
    small = ("--digits", "sklearn", "--videos", 7, "--frames", 12, "--n-digits", 3, "--seed", 5)
    status, stdout, _ = gen_mnist("--out", out, *small)
    assert status == 0
    assert "7 videos of 12 frames" in stdout and "not MNIST" in stdout
    expected = MovingMNIST(digits="sklearn", test_videos=7, test_frames=12, n_digits=3).draw_test_scene(5)
    assert read_scene(out).positions.equal(expected.positions)
    assert read_scene(out).digit_ids.equal(expected.digit_ids)


def test_bad_input_is_one_line_and_status_2(tmp_path, gen_mnist):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"broken")
    status, _, stderr = gen_mnist("--out", tmp_path / "videos.h5", "--data", tmp_path)
    assert status == 2
    assert stderr.startswith("error: ") and len(stderr.splitlines()) == 1
    assert not list(tmp_path.glob("videos*"))
    status, _, stderr = gen_mnist("--out", tmp_path / "videos.h5", "--n-digits", 9)
    assert status == 2 and "error: 9 digits" in stderr
