"""Range, mean and deviation of pieces are those of the whole, to float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsep.data.frames.kept import Kept
from fastsep.data.frames.source import Source
from fastsep.data.frames.splits import Part
from fastsep.data.frames.statistics import Statistics


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0.0, 0.4]), st.sampled_from([0.0, 1e5]))
def test_statistics_of_pieces_are_those_of_the_whole(seed, size, share, offset):
    random = np.random.default_rng(seed)
    frames = (offset + random.normal(size=(23, 2, 3, 4)) * [[[1]], [[30]]]).astype(np.float32)
    frames[random.random(frames.shape) < share] = np.nan
    frames[:, 1, 0, 0] = np.nan
    statistics = Statistics((2, 3, 4))
    for first in range(0, 23, size):
        statistics.add(frames[first : first + size])
    present = statistics.present()
    assert present.tolist() == np.isfinite(frames).any(0).all(0).tolist()
    counted = frames[..., present].astype(np.float64)
    low, high, mean, deviation = statistics.channels(present)
    np.testing.assert_array_equal(low, np.nanmin(counted, (0, 2)))
    np.testing.assert_array_equal(high, np.nanmax(counted, (0, 2)))
    np.testing.assert_allclose(mean, np.nanmean(counted, (0, 2)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(deviation, np.nanstd(counted, (0, 2)), rtol=1e-9)
    assert statistics.missing(present) == np.isnan(counted).sum()


class Numbered(Source):
    """Sequence and time as the two values of a frame; remembers what was read."""

    names, units, shape = (), (), (1, 2)

    def __init__(self, sequences: int, frames: int, chunk: tuple[int, int]):
        self.sequences, self.frames, self.chunk = sequences, frames, chunk
        self.asked = []

    def read(self, sequence, first, count):
        assert 0 <= sequence < self.sequences and first >= 0 and count > 0 and first + count <= self.frames
        self.asked.append((sequence, first, count))
        values = np.zeros((count, 1, 2), np.float32)
        values[:, 0, 0], values[:, 0, 1] = sequence, np.arange(first, first + count)
        return values


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 40), st.tuples(st.integers(1, 3), st.integers(1, 12)), st.integers(1, 7),
    st.data(),
)  # fmt: skip
def test_pieces_are_all_kept_frames_of_a_part_once(sequences, frames, chunk, every, data):
    kept = Kept(Numbered(sequences, frames, chunk), every)
    first = data.draw(st.integers(0, kept.frames - 1))
    part = Part(range(sequences), range(first, data.draw(st.integers(first + 1, kept.frames))))
    for in_order in (False, True):
        found = []
        for piece in kept.pieces(part, "read", in_order):
            assert (piece.frames[:, 0, 0] == piece.sequence).all()
            found += [(piece.sequence, piece.first + k, t) for k, t in enumerate(piece.frames[:, 0, 1].tolist())]
        assert sorted(found) == [(s, f, f * every) for s in part.sequences for f in part.frames]
        assert not in_order or found == sorted(found)


def test_pieces_begin_on_chunks_and_are_bounded(monkeypatch):
    monkeypatch.setattr("fastsep.data.frames.kept._PIECE_BYTES", 12 * 8)  # twelve frames
    source = Numbered(2, 40, (2, 5))
    list(Kept(source, 1).pieces(Part(range(2), range(3, 40)), "read"))
    spans = [(3, 7), (10, 10), (20, 10), (30, 10)]
    assert source.asked == [(s, first, count) for first, count in spans for s in (0, 1)]


@pytest.mark.parametrize("count", [1, 3])
def test_far_frames_are_read_alone(count):
    source = Numbered(1, 40, (1, 4))
    Kept(source, 6).read(0, 2, count)
    assert source.asked == [(0, 12 + 6 * k, 1) for k in range(count)]
