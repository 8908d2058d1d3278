"""Which frames train and which test: no frame does both, and no window reaches from one part into the other."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fastsep.data.base import Split
from fastsep.data.frames.settings import Frames
from fastsep.errors import UserError


class Part(NamedTuple):
    """Consecutive frames of consecutive sequences."""

    sequences: range
    frames: range

    def starts(self, length: int) -> Tensor:
        """Sequence and first frame of every window of ``length`` frames in it, in order: (W, 2) int64."""
        firsts = torch.arange(self.frames.start, max(self.frames.stop - length + 1, self.frames.start))
        sequences = torch.arange(self.sequences.start, self.sequences.stop)
        return torch.stack([sequences.repeat_interleave(len(firsts)), firsts.repeat(len(sequences))], dim=1)


def part_of(split: Split, config: Frames, sequences: int, frames: int) -> Part:
    """The part of ``sequences`` sequences of ``frames`` kept frames each that trains or tests, or all of them.

    Raises:
        UserError: there is nothing to split.
    """
    if split == "all":
        return Part(range(sequences), range(frames))
    how = kind_of(config, sequences)
    if how == "sequences" and sequences < 2:
        raise UserError(f"{config.data} is one sequence, which --split sequences cannot part: set --split time")
    whole = range(sequences), range(frames)
    parted = whole[how == "time"]
    tested = min(max(round(config.test_share * len(parted)), 1), len(parted) - 1)
    border = len(parted) - tested
    piece = parted[:border] if split == "train" else parted[border:]
    return Part(piece, whole[1]) if how == "sequences" else Part(whole[0], piece)


def kind_of(config: Frames, sequences: int) -> Literal["sequences", "time"]:
    """How the data are parted, ``auto`` settled."""
    if config.split == "auto":
        return "sequences" if sequences > 1 else "time"
    return config.split


def windows_in(part: Part, split: Split, config: Frames, cond: int, pred: int, what: str) -> Tensor:
    """Starts of the windows of ``cond`` + ``pred`` frames in ``part``, of sequence and frame: (W, 2) int64.

    Args:
        what: the data and how their axes were understood, for a message.

    Raises:
        UserError: there is none.
    """
    starts = part.starts(cond + pred)
    if len(starts):
        return starts
    which = "" if split == "all" else f"{split} "
    kept = f" ({config.every} apart)" if config.every > 1 else ""
    mend = "lower --nt-cond or --nt-pred"
    if split == "all":
        mend = "lower --horizon"
    elif split == "test":
        mend = "lower --nt-pred (where a run is evaluated: --horizon, or --whole), raise --test-share"
    fewer = ", lower --every" if config.every > 1 else ""
    raise UserError(
        f"{what}: no {which}window of {cond} + {pred} frames{kept} fits into the {len(part.frames)} {which}"
        f"frames of a sequence: {mend}{fewer}, or give longer sequences"
    )
