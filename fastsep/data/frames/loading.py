"""A part of the data, read once: measured or checked on the way, and kept where memory has room.

Letters: N sequences, T frames of a sequence, C channels; ``*space`` the other axes of a frame, ``*padded`` the same
with padding.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastsep.data.base import Padding, Split
from fastsep.data.frames.gaps import count_gaps, fill_linear, refuse
from fastsep.data.frames.kept import Kept
from fastsep.data.frames.measure import scaling_from
from fastsep.data.frames.settings import Frames
from fastsep.data.frames.splits import Part
from fastsep.data.frames.statistics import Statistics
from fastsep.data.residency import host_array, may_keep
from fastsep.data.scaling import Scaling
from fastsep.errors import UserError

_SCALED_BYTES = 32 << 20
"""Frames scaled at once."""


class Loaded(NamedTuple):
    """What reading a part told."""

    scaling: Scaling
    frames: np.ndarray | None
    """(N, T, C, *padded) float32 as a model sees them; None where they were not to be kept or do not fit memory."""
    limits: tuple[float, float] | None
    """Least and largest value that a model sees, if the scaling was measured."""
    gaps: int
    """Values that are missing now and then."""


def load(
    config: Frames,
    kept: Kept,
    split: Split,
    part: Part,
    scaling: Scaling | None = None,
    padding: Padding | None = None,
    keep: bool = True,
) -> Loaded:
    """Read ``part``.

    Args:
        scaling: what frames are scaled by; by default it is measured on this part, with ``padding``.
        keep: return the frames, if there is room.

    Raises:
        UserError: the file cannot be read, a channel is constant, values are missing now and then and not to be filled.
    """
    space = kept.shape[1:]
    extra = scaling.padding if scaling else padding(kept.shape) if padding else ()
    padded = [size + more for size, more in zip(space, extra or (0,) * len(space), strict=True)]
    inner = (..., *(slice(size) for size in space))
    shape = len(part.sequences), len(part.frames), kept.shape[0], *padded
    has_room = keep and may_keep(4 * math.prod(shape))
    frames = host_array(shape, np.float32) if has_room else None
    statistics = Statistics(kept.shape) if scaling is None else None
    gaps = 0
    for piece in kept.pieces(part, f"read {split} frames"):
        if statistics is None:
            gaps += count_gaps(piece, present_in(scaling))
        else:
            statistics.add(piece.frames)
        if frames is not None:
            row, first = piece.sequence - part.sequences.start, piece.first - part.frames.start
            frames[row, first : first + len(piece.frames)][inner] = piece.frames
    limits = None
    if statistics is not None:
        scaling, limits = scaling_from(statistics, config, kept.source, extra)
        gaps = statistics.missing(present_in(scaling))
    if gaps and config.fill == "none":
        raise _first_gap(kept, part, present_in(scaling), gaps)
    if frames is not None:
        for row, sequence in enumerate(part.sequences):
            if gaps:
                whole = np.ascontiguousarray(frames[row][inner])
                fill_linear(kept, sequence, whole, present_in(scaling))
                frames[row][inner] = whole
            _scale(frames[row], scaling, inner)
    return Loaded(scaling, frames, limits, gaps)


def present_in(scaling: Scaling) -> np.ndarray:
    """The cells that count: *space, bool."""
    return np.ones(scaling.space, bool) if scaling.present is None else scaling.present


def _first_gap(kept: Kept, part: Part, present: np.ndarray, count: int) -> UserError:
    for piece in kept.pieces(part, "look for missing values", in_order=True):
        if count_gaps(piece, present):
            return refuse(kept, piece, present, count)
    return UserError("the data change while they are read: wait until they are whole")


def _scale(frames: np.ndarray, scaling: Scaling, inner: tuple) -> None:
    """Scale the frames (T, C, *padded) of a sequence in place; what lies outside of ``inner`` is not there yet."""
    step = max(1, _SCALED_BYTES // frames[0].nbytes)
    for first in range(0, len(frames), step):
        frames[first : first + step] = scaling.scale(frames[first : first + step][inner])
