"""``python -m fastsep.forecast``: what its files hold, and what happens to them when something goes wrong."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from forecast_cases import write_nc
from run_cases import HOLES, WITH_HOLES, lively, lively_run

import fastsep
from fastsep.data.frames.settings import Frames
from fastsep.runs.checkpoint import save_checkpoint
from fastsep.runs.directory import create_run, load_config, update_config

OLD_RUN = Path(__file__).parents[1] / "fixtures" / "run_0.1.0"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".nc"])
def test_every_format_holds_what_the_model_forecasts(suffix: str, run, frames, command, tmp_path, monkeypatch) -> None:
    np.save(tmp_path / "frames.npy", frames)
    model = fastsep.load(run, "cpu")
    expected = model.forecast(frames, 3)
    out = tmp_path / "made" / f"out{suffix}"
    for at_once in (8192, 11, 1):  # sequences at a time: all, 2, 1
        monkeypatch.setattr("fastsep.inference.forecast_file.frames_at_once", lambda *_, n=at_once: n)
        status, said, errors = command(run, tmp_path / "frames.npy", "--horizon", 3, "--out", out)
        assert status == 0, errors
        assert f"{out}: (5, 3, 2, 4, 3) float32, step 7 of {run}" in said and "read as ntchw" in said
        if suffix == ".nc":
            with xarray.open_dataset(out, engine="h5netcdf") as read:
                found = read.forecast.values
                assert read.forecast.dims == ("sequence", "time", "channel", "y", "x")
        elif suffix == ".h5":
            with h5py.File(out) as read:
                found = read["forecast"][...]
                assert json.loads(read.attrs["units"]) == ["degC", "psu"] and read.attrs["horizon"] == 3
        else:
            read = np.load(out)
            found = read if suffix == ".npy" else read["forecast"]
            assert suffix == ".npy" or read["units"].tolist() == ["degC", "psu"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert np.isnan(found[..., 1, 2]).all() and found.dtype == np.float32


def test_netcdf_goes_on_with_names_units_coordinates_and_times(run, frames, command, tmp_path) -> None:
    data = write_nc(tmp_path / "frames.nc", frames)
    out = tmp_path / "out.nc"
    status, _, errors = command(run, data, "--horizon", 3, "--out", out, "--variable", "t", "s")
    assert status == 0, errors
    expected = fastsep.load(run, "cpu").forecast(frames, 3)
    with xarray.open_dataset(out, engine="h5netcdf") as read, xarray.open_dataset(data, engine="h5netcdf") as before:
        np.testing.assert_allclose(read.t, expected[:, :, 0], rtol=1e-5)
        np.testing.assert_allclose(read.s, expected[:, :, 1], rtol=1e-5)
        assert read.t.dims == before.t.dims and (read.t.units, read.s.units) == ("degC", "psu")
        assert [str(day)[:10] for day in read.time.values] == ["2001-02-27", "2001-02-28", "2001-03-01"]
        np.testing.assert_array_equal(read.lat, before.lat)
        assert read.area.units == "m2" and "area" in read.t.coords and "lon" not in read.coords
        assert read.attrs["input"] == str(data) and read.attrs["nt_cond"] == 2
        joined = xarray.concat([before, read], "time")  # as one record
        assert (np.diff(joined.time) == np.timedelta64(1, "D")).all() and joined.sizes["time"] == 10


def test_channels_that_the_run_did_not_learn_are_said(run, frames, command, tmp_path) -> None:
    data = write_nc(tmp_path / "frames.nc", frames)
    with xarray.open_dataset(data, engine="h5netcdf") as read:
        read.rename(t="u", s="v").to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
        read.t.expand_dims(channel=2, axis=2).rename("u").to_netcdf(tmp_path / "one.nc", engine="h5netcdf")
    how = ["--horizon", 3, "--out", tmp_path / "out.nc", "--variable"]
    assert "warning" not in command(run, data, *how, "t", "s")[2]
    assert "warning" not in command(run, tmp_path / "other.nc", *how, "u", "v")[2]  # as asked for, in the same units
    status, _, errors = command(run, data, *how, "s", "t")
    assert status == 0
    assert f"warning: {data}: forecast as if s [psu], t [degC] were t [degC], s [psu], which the run was" in errors
    status, _, errors = command(run, tmp_path / "one.nc", *how[:-1])
    assert status == 0 and "one.nc: forecast as if u[0] [degC], u[1] [degC] were t [degC], s [psu]" in errors


def test_scalar_coordinates_go_along(run, frames, command, tmp_path) -> None:
    data = write_nc(tmp_path / "frames.nc", frames)
    with xarray.open_dataset(data, engine="h5netcdf") as before:
        deep = before.assign_coords(depth=((), 0.5, {"units": "m"}))
        for name in ("t", "s"):
            deep[name].encoding.pop("coordinates")
        deep.to_netcdf(tmp_path / "deep.nc", engine="h5netcdf")
    status, _, errors = command(
        run, tmp_path / "deep.nc", "--horizon", 3, "--out", tmp_path / "out.nc", "--variable", "t", "s"
    )
    assert status == 0, errors
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as read:
        assert float(read.t.depth) == 0.5 and read.depth.units == "m"


@pytest.mark.parametrize("out", ["--out", "--animate"])
def test_no_output_takes_the_place_of_a_file_that_a_folder_links_to(out, run, frames, command, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", frames[number])
        (tmp_path / f"{number}.npy").rename(tmp_path / f"{number}.gif")
        (tmp_path / "folder" / f"{number}.npy").symlink_to(tmp_path / f"{number}.gif")
    (tmp_path / "link.npy").symlink_to(tmp_path / "1.gif")
    given = {"--out": tmp_path / "out.npy", out: tmp_path / ("1.gif" if out == "--animate" else "link.npy")}
    before = (tmp_path / "1.gif").read_bytes()
    how = [word for pair in given.items() for word in pair]
    status, _, errors = command(run, tmp_path / "folder", "--horizon", 2, *how)
    assert status == 2 and "is what the forecast is made from: write it elsewhere" in errors
    assert (tmp_path / "1.gif").read_bytes() == before and not (tmp_path / "out.npy").exists()


def test_no_output_takes_the_place_of_what_was_trained_on(frames, command, tmp_path) -> None:
    data = tmp_path / "train.npy"
    np.save(data, frames)
    np.save(tmp_path / "frames.npy", frames)
    own = lively_run(tmp_path / "run", WITH_HOLES, HOLES)
    update_config(own, replace(load_config(own), data=Frames(data=data)))
    before = data.read_bytes()
    status, _, errors = command(own, tmp_path / "frames.npy", "--horizon", 2, "--out", data)
    assert status == 2 and "train.npy is what the run was trained on: write it elsewhere" in errors
    assert data.read_bytes() == before


def test_forecasts_that_are_not_finite_are_said(run, frames, command, tmp_path) -> None:
    wild = lively(WITH_HOLES)
    for parameter in wild.integrator.parameters():
        parameter.data.mul_(1e3)
    create_run(tmp_path / "run", load_config(run))
    HOLES.write(tmp_path / "run")
    save_checkpoint(tmp_path / "run", 1, wild)
    np.save(tmp_path / "frames.npy", frames)
    how = [tmp_path / "frames.npy", "--out", tmp_path / "out.npy", "--horizon"]
    status, _, errors = command(tmp_path / "run", *how, 100)
    assert status == 0 and "warning: 5 of 5 forecasts in" in errors and "give a shorter --horizon" in errors
    status, _, errors = command(run, *how, 100)
    assert status == 0 and "warning" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent", "good.npy", "--horizon", "2", "--out", "o.npy"], "absent holds no run"),
        (["RUN", "absent.npy", "--horizon", "2", "--out", "o.npy"], "absent.npy does not exist"),
        (
            ["RUN", "good.npy", "--horizon", "0", "--out", "o.npy"],
            "set --horizon to a whole number from 1 to 1,0",
        ),
        (["RUN", "good.npy", "--horizon", "2", "--out", "o.txt"], "o.txt ends in none of .h5, .hdf5, .npy, .npz, .nc"),
        (["RUN", "good.npy", "--horizon", "2", "--out", "good.npy"], "good.npy is what the forecast is made from"),
        (["RUN", "folder.npy", "--horizon", "2", "--out", "folder.npy/o.npy"], "folder.npy/o.npy lies in what"),
        (["RUN", "good.npy", "--horizon", "2", "--out", "o.npy", "--motion", "two.npy"], "two.npy holds 2 sequences"),
        (["RUN", "good.npy", "--horizon", "2", "--out", "o.npy", "--animate", "o.png"], "o.png does not end in .gif"),
        (["RUN", "wide.npy", "--horizon", "2", "--out", "o.npy"], "frames of 2x4x4, the run's model takes 2x4x3"),
        (["RUN", "wide.npy", "--horizon", "2", "--out", "o.npy", "--layout", "nthw"], "names 4"),
        (["RUN", "turned.npy", "--horizon", "2", "--out", "o.npy"], "say with --layout what the axes are"),
        (
            ["RUN", "short.npy", "--horizon", "2", "--out", "o.npy"],
            "has 1 frames a sequence, the run takes 2",
        ),
        (
            ["RUN", "good.npy", "--horizon", "2", "--every", "7", "--out", "o.npy"],
            "has 7 frames a sequence, the run takes 8",
        ),
        (["RUN", "good.npy", "--horizon", "2", "--out", "/dev/null/o.npy"], "cannot write /dev/null/o.npy"),
        (["RUN", "good.npy", "--horizon", "2", "--out", "folder.npy"], "cannot write folder.npy (Is a directory)"),
    ],
)
def test_bad_input_is_one_line(arguments, words, run, frames, command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, values in {
        "good": frames, "two": frames[:2], "short": frames[:, :1], "turned": frames.swapaxes(3, 4),
        "wide": np.zeros((5, 7, 2, 4, 4)),
    }.items():  # fmt: skip
        np.save(f"{name}.npy", values)
    (tmp_path / "folder.npy").mkdir()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    status, _, errors = command(*(run if word == "RUN" else word for word in arguments))
    assert status == 2 and words in errors and "Traceback" not in errors
    assert len([line for line in errors.splitlines() if line.startswith("error: ")]) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".nc"])
def test_what_fails_half_way_leaves_the_old_file(suffix: str, run, frames, command, tmp_path, monkeypatch) -> None:
    np.save(tmp_path / "frames.npy", frames)
    out = tmp_path / f"out{suffix}"
    out.write_bytes(b"before")
    real, calls = fastsep.inference.Forecaster.swap, []

    def full_disk(self, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *arguments)

    monkeypatch.setattr(fastsep.inference.Forecaster, "swap", full_disk)
    monkeypatch.setattr("fastsep.inference.forecast_file.frames_at_once", lambda *_: 1)
    status, _, errors = command(run, tmp_path / "frames.npy", "--horizon", 2, "--out", out)
    assert status == 2 and "No space left on device" in errors and len(calls) == 3
    assert out.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"frames.npy", out.name}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".nc"])
def test_memory_is_bounded(suffix: str, tmp_path) -> None:
    """Ten times as many sequences take a forecast of 400 MB and not 40 MB more of memory."""
    script = (
        "import resource, sys; from pathlib import Path; from fastsep.inference.forecast_file import forecast_file\n"
        "forecast_file(*map(Path, sys.argv[1:4]), horizon=1000, layout='ntp', device='cpu', progress=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for sequences in (100, 1000):
        np.save(tmp_path / "frames.npy", np.random.RandomState(0).rand(sequences, 2, 100).astype(np.float32))
        words = [OLD_RUN, tmp_path / "frames.npy", tmp_path / f"out{suffix}"]
        done = subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) / 1024)
    assert os.stat(tmp_path / f"out{suffix}").st_size > 400e6
    assert peaks[1] < peaks[0] + 40
