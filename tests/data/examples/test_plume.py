"""The plume: a wind without divergence, nothing made or lost but by its terms, never negative, obstacles untouched."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fastsep.data.examples import plume

CLOSED = np.zeros((100, 68), bool)
CLOSED[2:-2, 2:-2] = plume.fluid()
TO_THE_END = np.zeros(1, np.uint8)


@pytest.fixture(scope="module")
def sequences():
    out = np.empty((3, 40, *plume.SHAPE), np.float32)
    for number, sequence in enumerate(out):
        plume.simulate(plume.draw(np.random.default_rng([5, number])), sequence, TO_THE_END)
    return out


def blob(row, column):
    y, x = np.mgrid[:100, :68] - 1.5
    return np.where(CLOSED, np.exp(-((y - row) ** 2 + (x - column) ** 2) / 30), 0.0)


@pytest.mark.parametrize("which", [0, 1], ids=["wind", "eddies"])
def test_the_wind_has_no_divergence_and_avoids_walls_and_obstacles(which):
    along, across = plume.velocities(plume._stream_functions()[which])
    assert np.abs(np.diff(along, axis=0) + np.diff(across, axis=1)).max() < 1e-12
    fluid = plume.fluid()
    assert not along[1:-1][~(fluid[1:] & fluid[:-1])].any()
    assert not across[:, 1:-1][~(fluid[:, 1:] & fluid[:, :-1])].any()
    assert not across[:, [0, -1]].any()
    assert np.abs(along).max() >= 1 and np.isfinite(along).all()


@pytest.mark.parametrize("place", [(48, 30), (25, 12), (70, 25)])
def test_within_the_grid_smoke_only_decays(place):
    """Flow and diffusion, along obstacles too, move it about."""
    c, change = blob(*place), np.empty(plume.SHAPE[1:])
    c[:6], c[-6:] = 0, 0  # nothing leaves yet
    wind, eddies = plume._stream_functions()
    plume._tendency(c, *plume.velocities(1.3 * (wind + 0.3 * eddies)), CLOSED, change)
    assert np.abs(change).max() > 1e-2
    assert change.sum() == pytest.approx(-plume._DECAY * c.sum(), rel=1e-9)
    assert not change[~plume.fluid()].any()


def test_smoke_is_finite_not_negative_and_absent_from_obstacles(sequences):
    fluid = plume.fluid()
    assert 0.05 < 1 - fluid.mean() < 0.2
    assert (np.isnan(sequences) == ~fluid).all()  # in all frames alike
    assert np.nanmin(sequences) >= 0
    assert 0.5 < np.nanmax(sequences) < 20


def test_the_future_is_neither_the_present_nor_a_mean(sequences):
    values = sequences[..., plume.fluid()]
    moved = np.square(values[:, 10:] - values[:, :-10]).mean()
    assert moved > 0.2 * values.var()
    assert all(np.square(one.mean(0) - other.mean(0)).mean() > 1e-3 for one, other in pairwise(values))


def test_a_smaller_step_changes_little(monkeypatch, sequences):
    steps = 2 * plume._steps()
    monkeypatch.setattr(plume, "_steps", lambda: steps)
    finer = np.empty_like(sequences[0])
    plume.simulate(plume.draw(np.random.default_rng([5, 0])), finer, TO_THE_END)
    difference = np.nanmean(np.square(finer - sequences[0])) / np.nanvar(sequences[0])
    assert difference < 1e-3


def test_a_sequence_is_a_function_of_its_draws(sequences):
    again = np.empty_like(sequences[1])
    plume.simulate(plume.draw(np.random.default_rng([5, 1])), again, TO_THE_END)
    np.testing.assert_array_equal(again, sequences[1])
