"""``python -m fastsep.forecast``: what is in the file, whatever its format, and one line for what cannot be."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from command_line import run_command
from PIL import Image
from run_cases import HOLES, MODELS, WITH_HOLES, lively, lively_run

import fastsep
from fastsep.config import Config
from fastsep.data.frames.gaps import fill_linear
from fastsep.data.frames.opening import open_source
from fastsep.data.frames.settings import Frames
from fastsep.data.frames.stacked import StackedSource
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.sst.settings import SST
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.errors import UserError
from fastsep.inference.animate import animate_forecast
from fastsep.inference.given import FrameFile
from fastsep.inference.outputs import Plan
from fastsep.runs.checkpoint import save_checkpoint
from fastsep.runs.directory import create_run, load_config, update_config

OLD_RUN = Path(__file__).parents[1] / "fixtures" / "run_0.1.0"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(capsys):
    return lambda *arguments: run_command("forecast", *arguments, "--device", "cpu", capsys=capsys)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Of two channels t and s of 4x3 cells, one of which is missing."""
    return lively_run(tmp_path_factory.mktemp("runs") / "run", WITH_HOLES, HOLES)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """(5, 7, 2, 4, 3) in the data's units."""
    values = HOLES.unscale(np.random.RandomState(0).rand(5, 7, 2, 4, 5).astype(np.float32))
    return values


def write_nc(path: Path, frames: np.ndarray) -> Path:
    """As people write them: with names, dates and coordinates, two variables."""
    dims = ("member", "time", "lat", "lon")
    days = np.arange("2001-02-20", "2001-02-27", dtype="datetime64[D]").astype("datetime64[ns]")
    coordinates = {
        "time": days, "lat": np.array([50.0, 51, 52, 53]), "area": (("lat", "lon"), np.ones((4, 3)), {"units": "m2"}),
    }  # fmt: skip
    variables = {
        name: (dims, frames[:, :, k], {"units": unit}) for k, (name, unit) in enumerate((("t", "degC"), ("s", "psu")))
    }
    xarray.Dataset(variables, coordinates).to_netcdf(path, engine="h5netcdf")
    return path


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


def test_coordinates_are_those_of_the_variable_s_own_group(tmp_path) -> None:
    path = tmp_path / "groups.nc"
    for mode, group, scale in (("w", "b", 100), ("a", "a", 1), ("a", "c", 7)):
        coordinates = {"time": np.arange(6) * scale, "lat": np.arange(4.0) * scale}
        values = np.zeros((6, 4, 5), np.float32)
        dataset = xarray.Dataset({"u": (("time", "lat", "lon"), values)}, coordinates)
        dataset.to_netcdf(path, mode=mode, group=group, engine="h5netcdf")
    for group, scale in (("a", 1), ("b", 100)):
        with closing(open_source(path, (f"{group}/u",))) as opened:
            assert opened.coordinates["lat"].values.tolist() == [0, scale, 2 * scale, 3 * scale]


def test_pictures_that_cannot_be_written_are_refused_at_once(run, frames, command, tmp_path) -> None:
    np.save(tmp_path / "frames.npy", frames)
    out = tmp_path / "out.npy"
    (tmp_path / "folder.gif").mkdir()
    for picture in (tmp_path / "frames.npy" / "within.gif", tmp_path / "folder.gif"):
        status, _, errors = command(run, tmp_path / "frames.npy", "--horizon", 3, "--out", out, "--animate", picture)
        assert status == 2 and "choose another --animate" in errors and not out.exists()


def test_numbers_just_above_one_are_no_bytes(tmp_path) -> None:
    values = np.random.default_rng(0).random((2, 3, 1, 4, 4), np.float32)
    values[0, 0, 0, 0, 0] = 1.0001
    np.save(tmp_path / "frames.npy", values)
    np.save(tmp_path / "bytes.npy", np.rint(values * 200).astype(np.float32))
    for name, largest in (("frames", 1.0001), ("bytes", 200 / 255)):
        with closing(open_source(tmp_path / f"{name}.npy", layout="ntchw")) as opened:
            read = FrameFile(tmp_path, opened, 3, 1, None, False, True).read(0)
        assert read.max() == pytest.approx(largest, rel=0.02)


def test_every_kth_frame_counts_from_the_last(run, frames, command, tmp_path) -> None:
    data = write_nc(tmp_path / "frames.nc", frames)
    how = ["--horizon", 2, "--out", tmp_path / "out.nc", "--variable", "t", "s", "--every", 3]
    assert command(run, data, *how)[0] == 0
    expected = fastsep.load(run, "cpu").forecast(frames[:, [3, 6]], 2)
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as read:
        np.testing.assert_allclose(read.t, expected[:, :, 0], rtol=1e-5)
        assert [str(day)[:10] for day in read.time.values] == ["2001-03-01", "2001-03-04"]


def test_frames_far_apart_are_read_one_by_one(run, frames, command, tmp_path, monkeypatch) -> None:
    np.save(tmp_path / "frames.npy", frames)
    read, counts = StackedSource.read, []
    monkeypatch.setattr(StackedSource, "read", lambda self, *how: counts.append(how[-1]) or read(self, *how))
    how = ["--horizon", 2, "--out", tmp_path / "out.npy", "--every", 6]
    assert command(run, tmp_path / "frames.npy", *how)[0] == 0
    assert set(counts) == {1}
    expected = fastsep.load(run, "cpu").forecast(frames[:, [0, 6]], 2)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5)


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


def test_what_is_wrong_with_the_motion_is_said_of_its_file(command, tmp_path) -> None:
    run = lively_run(tmp_path / "run", MODELS["no_s"])
    good, bad = np.random.RandomState(0).rand(2, 5, 10), 255 * np.random.RandomState(0).rand(2, 5, 10)
    for name, content, motion in (("bad", good, bad), ("good", bad, good)):
        np.save(tmp_path / "good.npy", content)
        np.save(tmp_path / "bad.npy", motion)
        how = ["--horizon", 2, "--motion", tmp_path / "bad.npy", "--out", tmp_path / "out.npy"]
        status, _, errors = command(run, tmp_path / "good.npy", *how)
        assert status == 2 and f"{name}.npy: " in errors and "the run was trained on frames of 0 to 1" in errors


@pytest.mark.parametrize("count", [5, 1])
def test_motion_of_other_frames(count: int, run, frames, command, tmp_path) -> None:
    other = frames[::-1][:count] * np.float32(0.9)
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "other.npy", other)
    how = ["--horizon", 2, "--out", tmp_path / "out.npy", "--motion", tmp_path / "other.npy"]
    assert command(run, tmp_path / "frames.npy", *how)[0] == 0
    moving = np.ascontiguousarray(np.broadcast_to(other, frames.shape))
    model = fastsep.load(run, "cpu")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model.swap(frames, moving, 2), rtol=1e-5)
    assert not np.allclose(model.swap(frames, moving, 2), model.forecast(frames, 2), equal_nan=True)


def own(run: Path, path: Path, **how) -> Path:
    """The run as if trained on frames that were read so."""
    path = lively_run(path, WITH_HOLES, HOLES)
    update_config(path, Config(data=Frames(data=path / "absent.npy", **how), model=load_config(run).model))
    return path


def test_files_are_read_as_in_training(run, frames, command, tmp_path) -> None:
    trained = own(run, tmp_path / "own", variable=("t", "s"), layout="nhwt", every=2)
    turned = {name: frames[:, :, k].transpose(0, 2, 3, 1) for k, name in enumerate(("t", "s"))}
    np.savez(tmp_path / "frames.npz", **turned, other=frames[..., 0, 0])
    assert command(trained, tmp_path / "frames.npz", "--horizon", 2, "--out", tmp_path / "out.npy")[0] == 0
    expected = fastsep.load(run, "cpu").forecast(frames[:, [4, 6]], 2)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5)


def test_gaps_are_filled_as_in_training_or_refused(run, frames, command, tmp_path) -> None:
    broken = frames.copy()
    broken[3, 5, 1, 2, 0] = np.nan  # between frames 4 and 6
    np.save(tmp_path / "frames.npy", broken)
    how = [tmp_path / "frames.npy", "--horizon", 2, "--out", tmp_path / "out.npy"]
    status, _, errors = command(run, *how)
    assert status == 2 and not (tmp_path / "out.npy").exists()
    assert "1 values of sequence 3 are missing or not finite, first in frame 5, channel 1, at (2, 0)" in errors
    assert command(own(run, tmp_path / "run", fill="linear"), *how)[0] == 0
    broken[3, 5, 1, 2, 0] = (frames[3, 4, 1, 2, 0] + frames[3, 6, 1, 2, 0]) / 2
    expected = fastsep.load(run, "cpu").forecast(broken, 2)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5)


def test_long_gaps_are_filled_as_in_training_too(run, frames, command, tmp_path) -> None:
    values = np.concatenate([frames] * 9, 1)[:1]  # (1, 63, 2, 4, 3)
    values[0, :, 0] += np.arange(63)[:, None, None]
    ended = values.copy()
    values[0, 5:60, 0, 1, 1] = np.nan  # up to before the last frames
    values[0, 62, 1, 2, 2] = np.nan
    ended[0, 6:, 1, 0, 0] = np.nan
    trained = own(run, tmp_path / "run", fill="linear")
    for number, broken in enumerate((values, ended)):
        np.save(tmp_path / f"{number}.npy", broken)
        how = [tmp_path / f"{number}.npy", "--horizon", 2, "--out", tmp_path / f"out{number}.npy"]
        assert command(trained, *how)[0] == 0
        whole = broken[0].copy()
        fill_linear(None, 0, whole, HOLES.present)
        expected = fastsep.load(run, "cpu").forecast(whole[None], 2)
        np.testing.assert_allclose(np.load(tmp_path / f"out{number}.npy"), expected, rtol=1e-5)
    ended[0, :, 1, 0, 0] = np.nan
    np.save(tmp_path / "0.npy", ended)
    status, _, errors = command(trained, tmp_path / "0.npy", "--horizon", 2, "--out", tmp_path / "none.npy")
    assert status == 2 and "0.npy: sequence 0, channel 1, row 0, column 0 has no value in the whole part" in errors


@pytest.mark.parametrize("variables", [("u",), ("t", "s")])
def test_an_array_without_a_name_is_what_was_trained_on(variables, run, frames, command, tmp_path) -> None:
    np.save(tmp_path / "frames.npy", frames)
    how = [tmp_path / "frames.npy", "--horizon", 2, "--out", tmp_path / "out.npy"]
    trained = own(run, tmp_path / "run", variable=variables)
    for given in (frames, frames[0]):  # sizes alone would make sequences of the one record's channels
        np.save(tmp_path / "frames.npy", given)
        status, _, errors = command(trained, *how)
        assert status == 0, errors
        expected = fastsep.load(run, "cpu").forecast(given, 2)
        np.testing.assert_allclose(np.load(tmp_path / "out.npy").reshape(expected.shape), expected, rtol=1e-5)


def test_a_forecast_of_fields_at_one_depth_is_itself_a_file_to_forecast_from(run, frames, command, tmp_path) -> None:
    dims = ("time", "depth", "lat", "lon")
    fields = {
        name: (dims, frames[0, :, k, None], {"units": unit})
        for k, (name, unit) in enumerate((("t", "degC"), ("s", "psu")))
    }
    coordinates = {"time": np.arange(7.0), "depth": ("depth", [0.5], {"units": "m"})}
    xarray.Dataset(fields, coordinates).to_netcdf(tmp_path / "0.nc", engine="h5netcdf")
    trained = own(run, tmp_path / "run", variable=("t", "s"))
    for number in range(2):
        how = ["--horizon", 3, "--out", tmp_path / f"{number + 1}.nc"]
        status, _, errors = command(trained, tmp_path / f"{number}.nc", *how)
        assert status == 0, errors
        with xarray.open_dataset(tmp_path / f"{number + 1}.nc", engine="h5netcdf") as future:
            assert future.t.units == "degC" and future.s.units == "psu" and future.s.dims == ("time", "lat", "lon")
            assert future.depth.values == 0.5 and future.depth.units == "m"
            assert future.time.values.tolist() == [7 + 3 * number, 8 + 3 * number, 9 + 3 * number]


@pytest.mark.parametrize(
    ("data", "good", "raw", "words"),
    [
        (TaxiBJ(order="chronological"), (0.0, 1.0), (0.0, 1200.0), "trained on frames of 0 to 1"),
        (SST(), (-1.7, 1.7), (8.0, 12.0), "trained on frames of mean 0 and deviation 1"),
        (SST(), (-1.7, 1.7), (-20.0, 20.0), "trained on frames of mean 0 and deviation 1"),
    ],
)
def test_frames_that_are_not_as_the_model_saw_them_are_refused(data, good, raw, words, command, tmp_path) -> None:
    model = replace(WITH_HOLES, shape=(2, 4, 3))
    run = lively_run(tmp_path / "run", model)
    update_config(run, Config(data=data, model=model))
    for (low, high), status in ((good, 0), (raw, 2)):
        np.save(tmp_path / "frames.npy", np.random.RandomState(0).uniform(low, high, (3, 5, 2, 4, 3)))
        found, _, errors = command(run, tmp_path / "frames.npy", "--horizon", 1, "--out", tmp_path / "out.npy")
        assert found == status and (status == 0 or words in errors), errors


def test_bytes_of_digits_are_frames_of_0_to_1(command, tmp_path) -> None:
    model = MODELS["dcgan"]
    run = lively_run(tmp_path / "run", model)
    videos = np.random.RandomState(0).randint(0, 256, (2, 3, 64, 64)).astype(np.uint8)
    np.save(tmp_path / "videos.npy", videos)  # by their sizes alone one record of colours; the run knows better
    how = [tmp_path / "videos.npy", "--horizon", 1, "--out", tmp_path / "out.npy"]
    status, _, errors = command(run, *how)
    assert status == 2 and "videos.npy: frames goes from" in errors and "trained on frames of 0 to 1" in errors
    update_config(run, Config(data=MovingMNIST(), model=model))
    assert command(run, *how)[0] == 0
    expected = fastsep.load(run, "cpu").forecast(videos[:, :, None] / 255, 1)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


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


def test_a_run_that_goes_back_in_time_forecasts_no_file(command, tmp_path) -> None:
    run = lively_run(tmp_path / "run", WITH_HOLES)
    update_config(run, Config(data=TaxiBJ(), model=WITH_HOLES))
    status, _, errors = command(run, "x.npy", "--horizon", 1, "--out", "o.npy")
    assert status == 2 and "goes back in time, as published: train with --order chronological" in errors


def test_animations(run, frames, command, tmp_path) -> None:
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "points.npy", np.random.RandomState(0).rand(2, 4, 100))
    for of, data in ((run, "frames"), (OLD_RUN, "points")):
        how = ["--horizon", 3, "--out", tmp_path / "out.npy", "--animate", tmp_path / f"{data}.gif"]
        status, said, errors = command(of, tmp_path / f"{data}.npy", *how)
        assert status == 0 and f"{data}.gif" in said, errors
        with Image.open(tmp_path / f"{data}.gif") as drawn:
            assert drawn.n_frames == 2 + 3


@pytest.mark.parametrize(
    ("names", "units", "channels"),
    [
        ((), (), 3),
        (("v[0]", "v[1]", "v[2]"), (), 3),
        (("v[0]", "v[1]", "v[2]"), ("m s-1",) * 3, 1),
        (("u", "v", "w"), (), 1),
    ],
    ids=["none", "one", "one of velocities", "three"],
)
def test_three_channels_of_one_variable_are_colours(names, units, channels, tmp_path, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr("fastsep.inference.animate.animate_future", lambda *given: drawn.append(given[1].shape[1]))
    future = np.random.RandomState(0).rand(3, 3, 4, 4).astype(np.float32)
    plan = Plan((1, *future.shape), names, units, {}, None, 1)
    animate_forecast("frames", tmp_path / "x.npy", future[:2], future, plan, tmp_path / "a.gif")
    assert drawn == [channels]


@pytest.mark.parametrize("channels", [1, 3])
def test_what_cannot_be_drawn_is_one_line(channels: int, tmp_path) -> None:
    cond, future = np.zeros((2, channels, 4, 4), np.float32), np.full((3, channels, 4, 4), np.nan, np.float32)
    plan = Plan((1, *future.shape), (), (), {}, None, 1)
    with pytest.raises(UserError, match=r"a.gif cannot be drawn \(.*\): leave out --animate"):
        animate_forecast("frames", tmp_path / "x.npy", cond, future, plan, tmp_path / "a.gif")


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
