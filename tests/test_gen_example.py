"""The command line gen_example as a user meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial

import h5py
import numpy as np
import pytest
from command_line import run_command

from fastsep.data.examples import making
from fastsep.data.frames.opening import open_source

SMALL = ("--size", 3, "--frames", 4)


@pytest.mark.parametrize(("name", "shape"), [("plume", (1, 96, 64)), ("layers", (2, 48, 48))])
def test_an_example_is_read_as_frames(name, shape, tmp_path, capsys):
    status, said, _ = run_command("gen_example", name, "--out", tmp_path / "new/x.nc", *SMALL, capsys=capsys)
    assert status == 0 and "3 sequences of 4 frames" in said
    source = open_source(tmp_path / "new/x.nc")
    assert (source.sequences, source.frames, source.shape) == (3, 4, shape)
    assert set(source.units) == {"g m-3" if name == "plume" else "mm"}
    frames = source.read(2, 0, 4)
    source.close()
    again = np.empty_like(frames)
    example = making.EXAMPLES[name]
    example.simulate(example.draw(np.random.default_rng([0, 2])), again, np.zeros(1, np.uint8))
    np.testing.assert_array_equal(frames, again)


def test_xarray_finds_coordinates_and_units(tmp_path, capsys):
    xarray = pytest.importorskip("xarray")
    run_command("gen_example", "plume", "--out", tmp_path / "x.nc", *SMALL, capsys=capsys)
    with xarray.open_dataset(tmp_path / "x.nc", engine="h5netcdf") as data:
        assert data["smoke"].dims == ("sequence", "time", "y", "x")
        assert data["smoke"].attrs["units"] == "g m-3" and data["time"].attrs["units"] == "s"
        assert data["time"].values.tolist() == [0, 2, 4, 6]
        assert data["y"].values[[0, -1]].tolist() == [0.5, 95.5]
        assert data["parameters"].dims == ("sequence", "parameter")
        assert np.isnan(data["smoke"].values).mean() == pytest.approx(0.0898, abs=1e-3)


def test_more_sequences_begin_with_the_same_ones_and_seeds_differ(tmp_path, capsys):
    for file, size, seed in (("a", 2, 1), ("b", 3, 1), ("c", 2, 2)):
        options = ("--size", size, "--frames", 3, "--seed", seed)
        assert run_command("gen_example", "layers", "--out", tmp_path / file, *options, capsys=capsys)[0] == 0
    a, b, c = (h5py.File(tmp_path / file)["elevation"][:2] for file in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.isclose(a, c).all(axis=(1, 2, 3, 4)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smoke", "--out", "x"], "plume"),
        (["plume", "--out", "x", "--size", "0"], "set --size to a whole number from 1"),
        (["plume", "--out", "x", "--frames", "1"], "set --frames to a whole number from 2"),
        (["layers", "--out", "x", "--seed", "-1"], "set --seed"),
        (["layers", "--out", "x", "--size", "1000000"], "GB free"),
        (["layers", "--out", "x.npy"], "x.npy ends in none of .nc, .h5, .hdf5"),
        (["layers", "--out", "."], "cannot write"),
        (["layers", "--out", "file/x"], "cannot write"),
    ],
)
def test_bad_options(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    status, _, error = run_command(
        "gen_example", *arguments, *([] if "--size" in arguments else SMALL[:2]), capsys=capsys
    )
    assert status == 2 and message in error and "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("long", [("--size", "9999"), ("--size", "1", "--frames", "40000")], ids=["many", "one long"])
def test_a_stopped_run_ends_at_once_and_leaves_the_old_file(long, tmp_path):
    (tmp_path / "x.nc").write_text("old")
    script = (
        "import fastsep.data.examples.making as made; made.require_space = lambda *_: None;"  # no disk is that small
        "from fastsep import entry, gen_example; entry.run(gen_example.main)"
    )
    command = [sys.executable, "-c", script, "layers", "--out", str(tmp_path / "x.nc"), *long]
    heed = partial(signal.signal, signal.SIGTERM, signal.SIG_DFL)
    with subprocess.Popen(command, preexec_fn=heed, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(1200):  # until it writes
            if (tmp_path / ".x.part.nc").exists() and os.path.getsize(tmp_path / ".x.part.nc"):
                break
            time.sleep(0.05)
        time.sleep(0.5)  # sequences are under way
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 143, error
    assert time.monotonic() - asked < 30  # of a minute
    assert error.splitlines()[-1] == "stopped by SIGTERM: no file is half written"
    assert [path.name for path in tmp_path.iterdir()] == ["x.nc"] and (tmp_path / "x.nc").read_text() == "old"
