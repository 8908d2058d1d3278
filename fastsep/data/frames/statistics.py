"""What scales frames, gathered in one pass: of each cell, so that those which do not count can be left out afterwards.

Letters: C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_BLOCK = 1 << 17
"""Values taken in at once: their float64 stays in the second-level cache, which is ten times as fast."""


class Channels(NamedTuple):
    """(C,) float64 each, over all values of the cells that count."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    """Of the population."""


class Statistics:
    """Range, mean and deviation of values that come piece by piece; those that are not finite are missing.

    Sums are of differences from each cell's first value, in float64: a mean far from zero costs no digits.
    """

    def __init__(self, shape: tuple[int, ...]):
        self.frames = 0
        self.counts = np.zeros(shape, np.int64)
        """(C, *space), the values that are not missing."""
        self._reference = np.zeros(shape, np.float32)
        self._low = np.full(shape, np.inf, np.float32)
        self._high = np.full(shape, -np.inf, np.float32)
        self._sum = np.zeros(shape)
        self._squares = np.zeros(shape)

    def add(self, frames: np.ndarray) -> None:
        """Take in frames (count, C, *space) float32."""
        step = max(1, _BLOCK // frames[0].size)
        for first in range(0, len(frames), step):
            self._add(frames[first : first + step])

    def _add(self, frames: np.ndarray) -> None:
        here = np.isfinite(frames)
        complete = here.all()
        new = (self.counts == 0) & here.any(0)
        if new.any():
            first = np.take_along_axis(frames, here.argmax(0)[None], 0)[0]
            self._reference = np.where(new, first, self._reference)
        difference = np.subtract(frames, self._reference, dtype=np.float64)
        if complete:
            low, high = frames.min(0), frames.max(0)
        else:
            low = np.where(here, frames, np.float32(np.inf)).min(0)
            high = np.where(here, frames, np.float32(-np.inf)).max(0)
            difference[~here] = 0
        np.minimum(self._low, low, out=self._low)
        np.maximum(self._high, high, out=self._high)
        self._sum += difference.sum(0)
        self._squares += np.square(difference, out=difference).sum(0)
        self.counts += len(frames) if complete else here.sum(0)
        self.frames += len(frames)

    def present(self) -> np.ndarray:
        """The cells that are measured at least once in every channel: *space, bool."""
        return (self.counts > 0).all(0)

    def missing(self, present: np.ndarray) -> int:
        """How many values of the cells ``present`` are missing."""
        return int((self.frames - self.counts[:, present]).sum())

    def mean(self) -> np.ndarray:
        """Of each cell, NaN where it has no value: (C, *space) float64."""
        with np.errstate(invalid="ignore"):
            return self._reference + self._sum / self.counts

    def channels(self, present: np.ndarray) -> Channels:
        """Over the cells ``present`` (*space, bool), of which each has a value."""
        counts, sums, squares = (x[:, present] for x in (self.counts, self._sum, self._squares))  # (C, cells)
        means = self._reference[:, present] + sums / counts
        total = counts.sum(1, keepdims=True)
        mean = (means * counts).sum(1, keepdims=True) / total  # (C, 1)
        within = np.maximum(squares - sums * sums / counts, 0)
        variance = (within + counts * np.square(means - mean)).sum(1) / total[:, 0]
        low, high = self._low[:, present].min(1), self._high[:, present].max(1)
        return Channels(low.astype(np.float64), high.astype(np.float64), mean[:, 0], np.sqrt(variance))
