"""Axes, names and times of a forecast that goes on where a file ends."""

from __future__ import annotations

import numpy as np
import pytest

from fastsep.data.frames.source import Coordinate, Source
from fastsep.inference.continued import continue_source, continue_times

NANOSECONDS = 1_700_000_000 * 10**9  # since 1970, more than a float64 tells apart


def source(layout: str = "thw", frames: int = 4, **facts) -> Source:
    made = Source()
    made.layout, made.frames = layout, frames
    for name, value in facts.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("times", "every", "expected"),
    [
        (np.arange(4, dtype=np.int32) * 6, 1, [24, 30, 36]),
        (np.arange(4, dtype=">i4") * 6, 2, [30, 42, 54]),
        (np.array([120, 123, 126], np.int8), 1, [129, 132, 135]),  # past what an int8 holds
        (np.array([5, 4, 3], np.int16), 1, [2, 1, 0]),
        (1e6 + np.arange(4, dtype=np.float32) / 16, 1, 1e6 + np.arange(4, 7) / 16),  # rounded to a sixteenth
        (np.array([0.0, 0.1, 0.2, 0.3]), 1, [0.4, 0.5, 0.6]),
        (NANOSECONDS + 100_000 * np.arange(4), 2, NANOSECONDS + 100_000 * np.arange(5, 11, 2)),
        (np.array([2**64 - 4, 2**64 - 3], np.uint64), 1, None),  # nothing holds what comes
        (np.array([0, 31, 59, 90]), 1, None),  # months
        (np.array([0.0, np.nan, 2.0]), 1, None),
        (np.array([7, 7, 7]), 1, None),
        (np.array([7]), 1, None),
        (np.array([False, True]), 1, None),
    ],
)
def test_times_go_on_by_equal_steps_or_not_at_all(times, every, expected) -> None:
    found = continue_times(times, 3, every)
    if expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found - times[0], np.array(expected) - times[0], rtol=1e-7)
        assert found.dtype.kind == times.dtype.kind and found.dtype.isnative


def test_without_names_axes_have_plain_ones() -> None:
    file = continue_source(source("tp"), (1, 3, 1, 9), (), (), 2)
    assert file.sizes == {"time": 3, "point": 9} and file.written == ("forecast",)
    assert file.variables["time"].values.tolist() == [2, 4, 6]
    assert file.variables["time"].attributes["long_name"] == "frames after the last one that was given"


def test_sequences_of_a_folder_have_an_axis_though_no_file_has() -> None:
    assert continue_source(source("thw"), (5, 3, 1, 4, 6), (), (), 1).sizes == {
        "sequence": 5,
        "time": 3,
        "y": 4,
        "x": 6,
    }


@pytest.mark.parametrize(
    ("layout", "names", "units", "written"),
    [
        ("nthw", ("u", "v"), ("m", "s"), {"u": "m", "v": "s"}),
        ("nthw", ("deep/u", "deep/v"), ("m", ""), {"u": "m", "v": None}),
        ("nthw", (), (), {"forecast_0": None, "forecast_1": None}),
        ("ntchw", ("u[0]", "u[1]"), ("m", "m"), {"u": "m"}),
        ("ntchw", (), (), {"forecast": None}),
        ("ntchw", ("u", "v"), ("m", "s"), {"forecast": None}),
        ("nthw", ("lat", "time"), (), {"forecast_lat": None, "forecast_time": None}),
    ],
)
def test_channels_keep_their_names_and_units(layout, names, units, written) -> None:
    dims = {"n": "sample", "t": "time", "h": "lat", "w": "lon"}
    file = continue_source(source(layout, dims=dims), (2, 3, 2, 4, 6), names, units, 1)
    assert file.written == tuple(written)
    for name, unit in written.items():
        assert file.variables[name].attributes.get("units") == unit
        assert ("channel" in file.variables[name].dims) == ("c" in layout)


def test_a_depth_of_length_one_stays_as_a_scalar() -> None:
    coordinates = {
        "depth": Coordinate(("depth",), np.array([0.5]), {"units": "m"}),
        "lat": Coordinate(("lat",), np.arange(4.0), {}),
    }
    dims = {"t": "time", "c": "depth", "h": "lat", "w": "lon"}
    given = source("tchw", dims=dims, coordinates=coordinates, names=("thetao", "so"))
    file = continue_source(given, (1, 3, 2, 4, 6), ("thetao", "so"), ("degC", "psu"), 1)
    assert file.written == ("thetao", "so") and file.sizes == {"time": 3, "lat": 4, "lon": 6}
    assert file.variables["depth"].dims == () and file.variables["depth"].values == 0.5
    assert file.variables["so"].attributes["coordinates"] == "depth"
    given.names = ("thetao",)
    one = continue_source(given, (1, 3, 1, 4, 6), ("thetao",), ("degC",), 1)
    assert one.sizes["depth"] == 1 and one.variables["depth"].values.tolist() == [0.5]


def test_only_coordinates_that_still_hold_are_kept() -> None:
    values = np.arange(4.0)
    coordinates = {
        "t": Coordinate(("t",), np.arange(4), {"units": "days since 2001-01-01", "bounds": "t_bnds", "crc32": 1}),
        "y": Coordinate(("y",), values, {"units": "m", "text": ["no", "text"]}),
        "where": Coordinate(("y", "x"), np.ones((4, 6)), {}),
        "wind": Coordinate(("t", "y", "x"), np.ones((4, 4, 6)), {}),
        "x": Coordinate(("y", "x"), np.ones((4, 6)), {}),  # named as an axis, and none
        "old": Coordinate(("y",), np.arange(5.0), {}),
    }
    dims = {"t": "t", "h": "y", "w": "x"}
    file = continue_source(source(dims=dims, coordinates=coordinates), (1, 3, 1, 4, 6), ("u",), (), 1)
    assert set(file.variables) == {"t", "y", "where", "u"}
    assert file.variables["t"].attributes == {"units": "days since 2001-01-01"}
    assert file.variables["y"].attributes == {"units": "m"}
    assert file.variables["u"].attributes["coordinates"] == "where"


@pytest.mark.parametrize(
    ("names", "written"),
    [(("g/u", "h/u"), ("g_u", "h_u")), (("u", "u"), ("u_0", "u_1")), ((".", "v/"), ("forecast", "v"))],
)
def test_channels_that_share_a_name_are_told_apart(names, written) -> None:
    assert continue_source(source("nthw"), (1, 3, 2, 4, 4), names, (), 1).written == written


def test_what_held_for_the_times_before_is_not_said_of_those_after() -> None:
    said = {"units": "h", "valid_max": 3, "valid_range": [0, 3], "_FillValue": 4, "actual_range": [0, 3]}
    coordinates = {"t": Coordinate(("t",), np.arange(4), said), "depth": Coordinate((), np.array(0.5), {"units": "m"})}
    file = continue_source(source(dims={"t": "t"}, coordinates=coordinates), (1, 3, 1, 4, 6), ("u",), (), 1)
    assert file.variables["t"].attributes == {"units": "h"} and file.variables["t"].values.tolist() == [4, 5, 6]
    assert file.variables["u"].attributes["coordinates"] == "depth" and file.variables["depth"].values == 0.5


def test_times_that_are_counted_anew_are_told_of(capsys) -> None:
    coordinates = {"t": Coordinate(("t",), np.array([0, 31, 59, 90]), {"units": "days since 2001-01-01"})}
    continue_source(source(dims={"t": "t"}, coordinates=coordinates), (1, 3, 1, 4, 6), ("u",), (), 1)
    assert "the times (t) of the input do not go by equal steps" in capsys.readouterr().err


def test_axes_of_one_name_are_named_anew() -> None:
    file = continue_source(source(dims={"t": "t", "h": "x", "w": "x"}), (1, 3, 1, 4, 4), ("u",), (), 1)
    assert file.sizes == {"time": 3, "y": 4, "x": 4}
