"""How windows share frames: runs that are read at once, blocks that stay together in memory, an order that suits both.

Letters: W windows, K blocks, R runs, L frames of a window. Frames are counted as they are kept: one in ``every``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_BLOCK_BYTES = 4 << 20  # a disk that is asked for less at a time spends its time on finding it
_WINDOWS_LONG = 5  # a block that begins and ends within a sequence shares its last L - 1 frames with the next
_CHUNKS_LONG = 4  # and its last chunk
_LEAST_BLOCKS = 8  # in memory, so that a batch mixes as many parts of the data
_LEAST_MIXED, _LEAST_LONG = 2, 16  # blocks of a lane that are mixed, and that there are
_AHEAD = 4  # one slot in so many is for blocks that are read ahead of their use


class Runs(NamedTuple):
    """Frames that some windows need, each once."""

    sequence: np.ndarray
    """(R,) int64."""
    first: np.ndarray
    """(R,) int64, the first kept frame of each run."""
    count: np.ndarray
    """(R,) int64, how many kept frames follow each other."""
    row: np.ndarray
    """(W,) int64, where the first frame of each window lies when the runs are laid out one after the other."""


def find_runs(sequence: np.ndarray, first: np.ndarray, length: int, block: np.ndarray | None = None) -> Runs:
    """Runs of windows (W,), sorted by sequence and first frame; none goes from one ``block`` (W,) into another."""
    step = np.diff(first, prepend=first[:1])
    new = np.ones(len(first), bool)
    new[1:] = (sequence[1:] != sequence[:-1]) | (step[1:] > length)
    if block is not None:
        new[1:] |= block[1:] != block[:-1]
    fresh = np.where(new, length, step)  # frames that a window has and those before it have not
    heads = np.flatnonzero(new)
    return Runs(sequence[heads], first[heads], np.add.reduceat(fresh, heads), np.cumsum(fresh) - length)


class Blocks:
    """Neighbouring windows in blocks, of which ``slots`` fit a buffer.

    They depend on the data and the budget alone, never on the memory that happens to be free: a run that goes on
    elsewhere sees its windows in the same order.

    Args:
        starts: (W, 2) int64, the sequence and the first kept frame of each window, in any order.
        length: frames of a window.
        chunk: sequences and kept frames that the file stores together.
        frame_bytes: of a frame in memory.
        budget: bytes of the buffer.

    Raises:
        ValueError: the buffer is too small for several windows.
    """

    def __init__(self, starts: np.ndarray, length: int, chunk: tuple[int, int], frame_bytes: int, budget: int):
        most = budget // (_LEAST_BLOCKS * frame_bytes)
        if most < length:
            raise ValueError(f"{_LEAST_BLOCKS} windows of {length * frame_bytes} bytes do not fit {budget}")
        sorts = np.lexsort((starts[:, 1], starts[:, 0]))
        sequence, first = starts[sorts].T
        wanted = max(_WINDOWS_LONG * length, -(-_BLOCK_BYTES // frame_bytes), _CHUNKS_LONG * chunk[1])
        key = _keys(sequence, first, length, chunk, min(wanted, most), most)
        heads = np.flatnonzero(np.any(np.diff(key, axis=1, prepend=-1), axis=0))  # (K,), the first window of each
        sizes = np.diff(heads, append=len(first))
        block = np.repeat(np.arange(len(heads)), sizes)

        runs = find_runs(sequence, first, length, block)
        ends = np.append(runs.row[heads], runs.count.sum())  # (K + 1,), rows of all blocks before each
        self.rows = int(np.diff(ends).max())
        """The most frames of a block."""
        self.block = np.empty(len(first), np.int32)
        """(W,), which block a window is in."""
        self.row = np.empty(len(first), np.int32)
        """(W,), where its first frame lies in the block."""
        self.block[sorts] = block
        self.row[sorts] = runs.row - np.repeat(ends[:-1], sizes)
        self._runs = runs
        self._run_bounds = np.searchsorted(np.cumsum(runs.count) - runs.count, ends)
        self.slots = min(len(heads), budget // (self.rows * frame_bytes))
        """Blocks that fit the buffer."""
        ahead = 0 if self.slots == len(heads) else max(2, self.slots // _AHEAD)
        self._mixed = self.slots - ahead

    def __len__(self) -> int:
        return len(self._run_bounds) - 1

    def runs(self, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sequence, first kept frame and number of frames of each run of a block."""
        part = slice(*self._run_bounds[block : block + 2])
        return self._runs.sequence[part], self._runs.first[part], self._runs.count[part]

    def order(self, generator: torch.Generator, batch: int = 1) -> Tensor:
        """All windows, (W,) int64, at random; at no time are more blocks begun and not finished than are mixed.

        Blocks come in a random order. The one at place p has its windows spread evenly over the time from p + 1 - m to
        p + 1, where m is the number of blocks mixed; times before the first block is whole, and after the last one is
        begun, do not exist, so that m blocks take part from the first batch to the last.

        Where there are enough blocks they are dealt to lanes, and each ``batch`` holds as many rows of one lane as of
        the next, side by side: whoever takes some rows of every batch needs the blocks of some lanes alone. What the
        shortest lane cannot match comes in the end.
        """
        lanes = self._lanes(batch)
        place = torch.argsort(torch.randperm(len(self), generator=generator))  # (K,)
        lane, place, mixed = place % lanes, place // lanes, self._mixed // lanes
        last = (torch.bincount(lane)[lane] - mixed).clamp(min=0) + 1
        begins = (place + 1 - mixed).clamp(min=0).double()
        ends = torch.minimum(place + 1, last).double()
        block = torch.from_numpy(self.block)
        share = torch.rand(len(block), generator=generator, dtype=torch.float64)
        time = begins[block] + (ends - begins)[block] * share  # (W,)
        order = torch.argsort(time, stable=True)
        return order if lanes == 1 else _side_by_side(order, lane[block], batch // lanes)

    def _lanes(self, batch: int) -> int:
        """A power of two that divides ``batch``, of which each lane has blocks enough to mix."""
        most = min(self._mixed // _LEAST_MIXED, len(self) // _LEAST_LONG)
        lanes = 1
        while 2 * lanes <= most and batch % (2 * lanes) == 0:
            lanes *= 2
        return lanes


def _side_by_side(order: Tensor, lane: Tensor, rows: int) -> Tensor:
    """``order`` (W,) so that ``rows`` windows of each lane follow each other in turn; ``lane`` (W,) of each window."""
    in_lanes = [order[lane[order] == k] for k in range(int(lane.max()) + 1)]
    whole = min(map(len, in_lanes)) // rows * rows
    dealt = torch.stack([windows[:whole].view(-1, rows) for windows in in_lanes], 1).flatten()
    left = torch.ones(len(order), dtype=torch.bool)
    left[dealt] = False
    return torch.cat([dealt, order[left[order]]])


def _keys(
    sequence: np.ndarray, first: np.ndarray, length: int, chunk: tuple[int, int], frames: int, most: int
) -> np.ndarray:
    """What windows of one block have in common, (2, W); it is to have about ``frames`` frames, at most ``most``."""
    span = int(first.max() - first.min()) + length  # frames of a sequence, or somewhat more
    if span <= frames:  # whole sequences, where possible those that are stored together
        together = frames // span
        together -= together % chunk[0] if together > chunk[0] else 0
        return np.stack([sequence // together, np.zeros_like(first)])
    windows = span - length + 1
    parts = -(-windows // max(1, frames - length + 1))
    run = -(-windows // parts)
    whole = -(-run // chunk[1]) * chunk[1]
    if whole + length - 1 <= most:
        run = whole
    elif run > chunk[1]:
        run -= run % chunk[1]
    return np.stack([sequence, first // run])
