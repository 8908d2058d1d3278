"""``python -m fastsep.forecast --animate``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from fastsep.data.frames.source import Coordinate, Source
from fastsep.errors import UserError
from fastsep.inference.animate import animate_forecast
from fastsep.inference.outputs import Plan

OLD_RUN = Path(__file__).parents[1] / "fixtures" / "run_0.1.0"


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
    plan = Plan((1, *future.shape), names, units, {}, Source(), 1)
    animate_forecast(None, tmp_path / "x.npy", future[:2], future, plan, tmp_path / "a.gif")
    assert drawn == [channels]


def test_the_north_is_above(tmp_path, monkeypatch) -> None:
    class Northwards(Source):
        dims: ClassVar = {"h": "lat"}
        coordinates: ClassVar = {"lat": Coordinate(("lat",), np.arange(4.0), {"units": "degrees_north"})}

    drawn = []
    monkeypatch.setattr("fastsep.inference.animate.animate_future", lambda *given: drawn.extend(given[:2]))
    future = np.random.RandomState(0).rand(3, 1, 4, 4).astype(np.float32)
    plan = Plan((1, *future.shape), (), (), {}, Northwards(), 1)
    animate_forecast(None, tmp_path / "x.nc", future[:2], future, plan, tmp_path / "a.gif")
    np.testing.assert_array_equal(drawn[1], future[:, :, ::-1])
    np.testing.assert_array_equal(drawn[0], future[:2, :, ::-1])


@pytest.mark.parametrize("channels", [1, 3])
def test_what_cannot_be_drawn_is_one_line(channels: int, tmp_path) -> None:
    cond, future = np.zeros((2, channels, 4, 4), np.float32), np.full((3, channels, 4, 4), np.nan, np.float32)
    plan = Plan((1, *future.shape), (), (), {}, Source(), 1)
    with pytest.raises(UserError, match=r"a.gif cannot be drawn \(.*\): leave out --animate"):
        animate_forecast(None, tmp_path / "x.npy", cond, future, plan, tmp_path / "a.gif")


def test_pictures_that_cannot_be_written_are_refused_at_once(run, frames, command, tmp_path) -> None:
    np.save(tmp_path / "frames.npy", frames)
    out = tmp_path / "out.npy"
    (tmp_path / "folder.gif").mkdir()
    for picture in (tmp_path / "frames.npy" / "within.gif", tmp_path / "folder.gif"):
        status, _, errors = command(run, tmp_path / "frames.npy", "--horizon", 3, "--out", out, "--animate", picture)
        assert status == 2 and "choose another --animate" in errors and not out.exists()
