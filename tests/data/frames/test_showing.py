"""What coordinates say about how frames are shown: in steps of which time, and which way up."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray

from fastsep.data.frames.opening import open_source
from fastsep.data.frames.settings import Frames
from fastsep.data.frames.showing import last_row, seconds_of, span_of_steps, step_of
from fastsep.drawing.own import own_appearance, view_of

CPU = torch.device("cpu")
NORTH = {"units": "degrees_north"}
DAYS = {"units": "days since 2001-01-01"}


def written(path: Path, lat: list[float], of_lat: dict, time: list[float], of_time: dict, spread: float = 0.0) -> Path:
    """Frames (time, lat, lon) that hold the number of their row."""
    values = np.arange(float(len(lat)))[None, :, None] + np.zeros((len(time), 1, 3))
    values = values + spread * np.random.RandomState(0).rand(*values.shape)
    coordinates = {"time": ("time", time, of_time), "lat": ("lat", lat, of_lat)}
    fields = {"u": (("time", "lat", "lon"), values, {"units": "K"})}
    xarray.Dataset(fields, coordinates).to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize(
    ("lat", "attributes", "expected"),
    [
        ([-1.0, 0.0, 1.0, 2.0], NORTH, "north"),
        ([2.0, 1.0, 0.0, -1.0], NORTH, "south"),
        ([-1.0, 0.0, 1.0, 2.0], {"standard_name": "latitude"}, "north"),
        ([-1.0, 0.0, 1.0, 2.0], {"units": "m"}, ""),
    ],
)
def test_rows_of_rising_latitudes_go_north(lat, attributes, expected, tmp_path):
    source = open_source(written(tmp_path / "x.nc", lat, attributes, [0.0, 1.0], {}), (), None)
    assert last_row(source) == expected
    source.close()


@pytest.mark.parametrize(
    ("time", "attributes", "every", "expected"),
    [
        ([0.0, 2.0, 4.0], {"units": "s"}, 1, "frames of 2 s"),
        ([0.0, 2.0, 4.0], {"units": "s"}, 3, "frames of 6 s"),
        ([7.0, 8.0, 9.0], DAYS, 1, "frames of 1 day"),
        ([9.0, 8.0, 7.0], DAYS, 2, "frames of 2 days"),
        ([0.0, 2.0, 5.0], {"units": "s"}, 1, "frames"),
        ([0.0, 2.0, 5.0], {"units": "s"}, 2, "steps of 2 frames"),
        ([0.0, 1.0, 2.0], {}, 1, "frames"),
        ([0.0, 1.0, 2.0], {"units": "1"}, 1, "frames"),
        ([0.0, 1.0, 2.0], {"units": "s since 2000-01-01"}, 1, "frames of 1 s"),
        ([0.0, 1.0, 2.0], {"units": "ms since 2000-01-01"}, 1, "frames of 1 ms"),
        ([0.0, 1.0, 2.0], {"units": "days  Since 2000-01-01"}, 1, "frames of 1 day"),
    ],
)
def test_frames_are_counted_in_the_time_that_goes_by(time, attributes, every, expected, tmp_path):
    source = open_source(written(tmp_path / "x.nc", [0.0, 1.0], {}, time, attributes), (), None)
    assert step_of(source, every) == expected
    source.close()


@pytest.mark.parametrize(
    ("time", "attributes", "expected"),
    [
        ([0.0, 2.0, 4.0], DAYS, ""),
        ([0.0, 2.0, 5.0, 7.0], DAYS, "2 to 3 days"),
        ([0.0, 2.0, 5.0], {}, "2 to 3"),
        ([0.0, np.nan, 5.0], DAYS, "some are missing"),
        ([], {}, ""),
        ([0.0, 5.0, 2.0], DAYS, "out of order"),
    ],
)
def test_steps_that_differ_are_put_into_words(time, attributes, expected, tmp_path):
    source = open_source(written(tmp_path / "x.nc", [0.0, 1.0], {}, time or [0.0], attributes), (), None)
    assert span_of_steps(source) == expected
    source.close()


def test_times_with_a_gap_are_said_before_training(tmp_path):
    time = [*np.arange(10.0), *np.arange(13.0, 23.0)]
    notes = (
        Frames(data=written(tmp_path / "x.nc", [0.0, 1.0], {}, time, DAYS, spread=0.1)).open("train", 1, 2, CPU).notes
    )
    assert "times: not at equal steps (1 to 4 days); windows count frames" in notes


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        ("frames of 6 hours", 21600), ("frames of 1 day", 86400), ("frames of 0.25 h", 900), ("frames of 2 s", 2),
        ("frames of 1 ms", None), ("frames of 1 month", None), ("frames", None), ("steps of 2 frames", None),
    ],
)  # fmt: skip
def test_steps_of_common_units_can_be_compared(step, seconds):
    assert seconds_of(step) == seconds


def test_packed_coordinates_are_unpacked(tmp_path):
    path = written(tmp_path / "x.nc", [0.0, 1.0, 2.0], NORTH, [0.0, 1.0, 2.0], {"units": "h"})
    with h5py.File(path, "r+") as file:
        for name, scale in (("lat", -0.5), ("time", 0.25)):
            file[name].attrs["scale_factor"] = scale
    source = open_source(path, (), None)
    assert last_row(source) == "south" and step_of(source, 1) == "frames of 0.25 h"
    source.close()


def test_coordinates_that_cannot_be_read_cost_no_training(tmp_path, monkeypatch):
    def damaged(*_, **__):
        raise ValueError("the checksum does not fit")

    monkeypatch.setattr("fastsep.data.frames.stacked.read_coordinates", damaged)
    path = written(tmp_path / "x.nc", [0.0, 1.0, 2.0, 3.0], NORTH, list(np.arange(20.0)), DAYS, spread=0.1)
    windows = Frames(data=path).open("train", 1, 2, CPU)
    assert len(windows) and (windows.last_row, windows.step) == ("", "frames")


@pytest.mark.parametrize("rises", [True, False])
def test_pictures_show_the_north_above(rises, tmp_path):
    lat = [10.0, 20.0, 30.0, 40.0][:: 1 if rises else -1]
    path = written(tmp_path / "x.nc", lat, NORTH, list(np.arange(20.0)), DAYS, spread=0.01)
    settings = Frames(data=path)
    windows = settings.open("test", 1, 2, CPU)
    frames = windows.batch(torch.tensor([0]))
    rows = view_of(windows, frames)(frames)[0, 0, 0].mean(-1)  # (H,), the numbers of the rows
    assert rows.round().tolist() == ([3, 2, 1, 0] if rises else [0, 1, 2, 3])
    appearance = own_appearance(settings, windows)
    assert (appearance.step, appearance.error) == ("frames of 1 day", "|error| [K]")
