"""Every K-th frame of a source, read piece by piece in the order in which the file is laid out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastsep.data.frames.source import Source
from fastsep.data.frames.splits import Part
from fastsep.progress import progress_bar

_PIECE_BYTES = 32 << 20
_PATIENCE = 2.0
"""Seconds after which reading shows a progress bar."""


class Piece(NamedTuple):
    """Frames ``first``, ``first + 1``, ... of a sequence, counted as kept."""

    sequence: int
    first: int
    frames: np.ndarray
    """(count, C, *space) float32, missing values NaN."""


class Kept:
    """A source with every K-th frame alone, the first one among them; frames are counted as kept."""

    def __init__(self, source: Source, every: int):
        self.source = source
        self.every = every
        self.sequences = source.sequences
        self.frames = -(-source.frames // every)
        self.shape = tuple(source.shape)

    def read(self, sequence: int, first: int, count: int) -> np.ndarray:
        """Frames ``first`` to ``first + count`` of a sequence: (count, C, *space) float32, missing values NaN."""
        return read_every(self.source, self.every, sequence, first * self.every, count)

    def pieces(self, part: Part, label: str, in_order: bool = False) -> Iterator[Piece]:
        """All frames of ``part``, in the order of the file's chunks, or of sequence and time; a progress bar where it
        takes long."""
        total = len(part.sequences) * len(part.frames)
        block = 1 if in_order else max(self.source.chunk[0], 1)
        with progress_bar(total=total, desc=label, unit="frame", delay=_PATIENCE) as bar:
            for start in range(part.sequences.start, part.sequences.stop, block):
                sequences = range(start, min(start + block, part.sequences.stop))
                for first, count in self._spans(part.frames):
                    for sequence in sequences:
                        yield Piece(sequence, first, self.read(sequence, first, count))
                        bar.update(count)

    def _spans(self, frames: range) -> Iterator[tuple[int, int]]:
        """First frame and number of frames of each piece; borders lie on the file's chunks where they are small."""
        frame_bytes = 4 * int(np.prod(self.shape))
        most = max(1, _PIECE_BYTES // frame_bytes)
        chunk = min(max(1, self.source.chunk[1] // self.every), most)
        size = most // chunk * chunk
        first = frames.start
        while first < frames.stop:
            stop = min(first - first % size + size, frames.stop)
            yield first, stop - first
            first = stop


def read_every(source: Source, every: int, sequence: int, first: int, count: int) -> np.ndarray:
    """Frames ``first``, ``first + every``, ... of a sequence, as the source counts them: (count, C, *space)."""
    if every == 1:
        return source.read(sequence, first, count)
    if every < source.chunk[1]:  # what lies between is decompressed anyway
        return source.read(sequence, first, (count - 1) * every + 1)[::every]
    return np.concatenate([source.read(sequence, first + i * every, 1) for i in range(count)])
