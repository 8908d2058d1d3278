"""Values that are missing now and then: found and named, or filled from their neighbours in time.

Letters: T frames of a sequence, C channels; ``*space`` the other axes of a frame; M values of a frame.
"""

from __future__ import annotations

import numpy as np

from fastsep.data.frames.kept import Kept, Piece
from fastsep.errors import UserError

_BLOCK_BYTES = 32 << 20
_VALUE_BYTES = 80
"""Of a value while it is filled: itself, and where those around it lie, in float64 and int64."""


def refuse(kept: Kept, piece: Piece, present: np.ndarray, count: int) -> UserError:
    """What to say about ``count`` missing values, the first of which is in ``piece``."""
    place = np.argwhere(~np.isfinite(piece.frames) & present)[0]
    return UserError(
        f"{count:,} values are missing (NaN, infinite, a fill value or beyond float32) in cells that have values at "
        f"other times, first {_place(kept, piece.sequence, piece.first + place[0], place[1], place[2:])}: set --fill "
        "linear to interpolate in time, or mend the data"
    )


def count_gaps(piece: Piece, present: np.ndarray) -> int:
    """How many values of the cells ``present`` (*space, bool) are missing in it."""
    here = np.isfinite(piece.frames)
    return 0 if here.all() else int((~here & present).sum())


def fill_linear(kept: Kept, sequence: int, frames: np.ndarray, present: np.ndarray) -> None:
    """Fill the gaps of a sequence in place: (T, C, *space) float32, of the cells ``present`` (*space, bool).

    A gap is the line in time between the values around it; at the ends the nearest value goes on.

    Raises:
        UserError: a cell has no value in the whole sequence.
    """
    flat = frames.reshape(len(frames), -1)  # (T, M)
    assert np.shares_memory(flat, frames)
    gaps = ~np.isfinite(flat).all(0) & np.broadcast_to(present, frames.shape[1:]).ravel()
    columns = np.flatnonzero(gaps)
    steps = np.arange(len(flat))[:, None]
    at_once = max(1, _BLOCK_BYTES // (_VALUE_BYTES * len(flat)))
    for block in np.split(columns, range(at_once, len(columns), at_once)):
        values = flat[:, block].astype(np.float64)  # (T, cells)
        good = np.isfinite(values)
        empty = np.flatnonzero(~good.any(0))
        if len(empty):
            channel, *cell = np.unravel_index(block[empty[0]], frames.shape[1:])
            raise UserError(
                f"{_place(kept, sequence, None, channel, cell)} has no value in the whole part of the sequence, so "
                "--fill linear has nothing to start from: leave the sequence out, or mend the data"
            )
        before = np.maximum.accumulate(np.where(good, steps, -1))
        after = np.minimum.accumulate(np.where(good, steps, len(flat))[::-1])[::-1]
        before, after = np.where(before < 0, after, before), np.where(after == len(flat), before, after)
        left, right = (np.take_along_axis(values, at, 0) for at in (before, after))
        share = (steps - before) / np.maximum(after - before, 1)
        flat[:, block] = np.where(good, values, left + share * (right - left))


def _place(kept: Kept, sequence: int, frame: int | None, channel: int, cell: tuple[int, ...]) -> str:
    """Where in the file a value lies, as its owner counts."""
    names = kept.source.names
    time = [] if frame is None else [f"frame {frame * kept.every}"]
    name = names[channel] if channel < len(names) and names[channel] else channel
    where = f"row {cell[0]}, column {cell[1]}" if len(cell) == 2 else f"point {cell[0]}"
    return ", ".join([f"sequence {sequence}", *time, f"channel {name}", where])
