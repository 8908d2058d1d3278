"""Gaps in time are lines between the values around them, filled in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fastsep.data.frames.gaps import fill_linear


@pytest.mark.parametrize(("frames", "cells"), [(7, 3), (40, 9000), (120_000, 5)])
def test_gaps_are_lines_between_the_values_around_them(frames: int, cells: int) -> None:
    random = np.random.default_rng(0)
    whole = random.random((frames, 1, cells)).astype(np.float32)
    holes = random.random(whole.shape) < 0.3
    holes[0, 0, 0] = holes[-1, 0, 0] = True
    holes[1:-1].swapaxes(0, 2)[np.arange(cells), 0, random.integers(frames - 2, size=cells)] = False
    given = np.where(holes, np.float32(np.nan), whole)
    fill_linear(None, 0, given, np.ones(cells, bool))
    times = np.arange(frames)
    for cell in (0, cells // 2, cells - 1):
        good = ~holes[:, 0, cell]
        line = np.interp(times, times[good], whole[good, 0, cell])
        np.testing.assert_allclose(given[:, 0, cell], line, rtol=1e-6)
    assert np.isfinite(given).all()


def test_long_records_are_filled_in_little_memory() -> None:
    frames = np.random.default_rng(0).random((60_000, 1, 256)).astype(np.float32)
    frames[5] = np.nan
    tracemalloc.start()
    try:
        fill_linear(None, 0, frames, np.ones(256, bool))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * frames.nbytes
