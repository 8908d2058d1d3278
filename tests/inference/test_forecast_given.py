"""``python -m fastsep.forecast``: frames of files are read as those of training, or refused."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from forecast_cases import write_nc
from run_cases import HOLES, MODELS, WITH_HOLES, lively_run

import fastsep
from fastsep.config import Config
from fastsep.data.frames.gaps import fill_linear
from fastsep.data.frames.opening import open_source
from fastsep.data.frames.settings import Frames
from fastsep.data.frames.stacked import StackedSource
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.sst.settings import SST
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.data.wave.settings import Wave
from fastsep.inference.given import FrameFile
from fastsep.runs.directory import load_config, update_config


def own(run: Path, path: Path, **how) -> Path:
    """The run as if trained on frames that were read so."""
    path = lively_run(path, WITH_HOLES, HOLES)
    update_config(path, Config(data=Frames(data=path / "absent.npy", **how), model=load_config(run).model))
    return path


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


def test_waves_as_they_are_simulated_are_refused(command, tmp_path) -> None:
    of_waves = replace(WITH_HOLES, shape=(1, 16, 16))
    run = lively_run(tmp_path / "run", of_waves)
    update_config(run, Config(data=Wave(), model=of_waves))
    with h5py.File(tmp_path / "wave.h5", "w") as file:
        file["simulations"] = np.random.RandomState(0).rand(2, 30, 16, 16).astype(np.float32)
        file.attrs["dt"] = 1e-3
    status, _, errors = command(run, tmp_path / "wave.h5", "--horizon", 1, "--out", tmp_path / "o.npy")
    assert status == 2 and "wave.h5 holds waves as they are simulated" in errors and errors.count("\n") == 1
    with h5py.File(tmp_path / "scaled.h5", "w") as file:
        file["frames"] = np.random.RandomState(0).rand(2, 30, 16, 16).astype(np.float32)
        file.attrs["dt"] = 2e-3
    status, _, errors = command(run, tmp_path / "scaled.h5", "--horizon", 1, "--out", tmp_path / "o.npy")
    assert status == 0, errors


def test_a_run_that_goes_back_in_time_forecasts_no_file(command, tmp_path) -> None:
    run = lively_run(tmp_path / "run", WITH_HOLES)
    update_config(run, Config(data=TaxiBJ(), model=WITH_HOLES))
    status, _, errors = command(run, "x.npy", "--horizon", 1, "--out", "o.npy")
    assert status == 2 and "goes back in time, as published: train with --order chronological" in errors


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


def test_numbers_just_above_one_are_no_bytes(tmp_path) -> None:
    values = np.random.default_rng(0).random((2, 3, 1, 4, 4), np.float32)
    values[0, 0, 0, 0, 0] = 1.0001
    np.save(tmp_path / "frames.npy", values)
    np.save(tmp_path / "bytes.npy", np.rint(values * 200).astype(np.float32))
    for name, largest in (("frames", 1.0001), ("bytes", 200 / 255)):
        with closing(open_source(tmp_path / f"{name}.npy", layout="ntchw")) as opened:
            read = FrameFile(tmp_path, opened, 3, 1, None, False, True).read(0)
        assert read.max() == pytest.approx(largest, rel=0.02)
