"""Where the cycles of a block-step go on this GPU, from clocks that the kernel notes when built to.

The marks cost something themselves: what they add up to is more than an unmarked block-step takes.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from kernels.latent_rollout import cluster
from kernels.latent_rollout.cluster import driver
from kernels.latent_rollout.cluster.driver import Arguments
from kernels.latent_rollout.cluster.variant import PROGRAMS, Variant
from kernels.latent_rollout.reference import Blocks

WARPS, OWNER = 8, 7
MARKS = ("begun", "state seen", "sums stored", "barrier 1", "mix stored", "barrier 2", "drop sent", "parts seen")
MARKS += ("state sent", "ended")
SETTLED = 6
"""Block-steps passed over at the start."""


class Profiler:
    """Runs launches in the place of ``driver.launch``, with marks; ``found`` are the phases of the last."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def __call__(self, variant: Variant, device: int, groups: int, arguments: Arguments) -> None:
        shape = (arguments.transitions * variant.blocks, PROGRAMS, WARPS, len(MARKS))
        marks = torch.zeros(shape, dtype=torch.int32, device=torch.device("cuda", device))
        arguments.marks = marks.data_ptr()
        driver.launch(dataclasses.replace(variant, profile=True), device, groups, arguments)
        self.found = phases(marks.cpu(), variant.drops)


def between(marks: Tensor, first: str, last: str, warps: slice, turns: int = 0) -> float:
    """Median cycles from when the last of ``warps`` was at ``first`` to when the last was at ``last``, in the same
    program, ``turns`` block-steps on."""
    at = [marks[:, :, warps, MARKS.index(name)].long() & 0xFFFFFFFF for name in (first, last)]
    begin, end = (when.amax(2) for when in at)  # (S, program)
    begin, end = begin[SETTLED : begin.shape[0] - 1], end[SETTLED + turns : end.shape[0] - 1 + turns]
    return ((end - begin) & 0xFFFFFFFF).double().median().item()


def phases(marks: Tensor, drops: int) -> dict[str, float]:
    """Cycles of each phase, by the slowest warp that takes part; ``drops`` warps multiply by the drop."""
    every, dropping, owner = slice(0, WARPS), slice(0, drops), slice(OWNER, WARPS)
    return {
        "block-step": between(marks, "state seen", "state seen", every, 1),
        "lift and mix": between(marks, "state seen", "sums stored", every),
        "barrier 1": between(marks, "sums stored", "barrier 1", every),
        "sum over warps": between(marks, "barrier 1", "mix stored", every),
        "barrier 2": between(marks, "mix stored", "barrier 2", dropping),
        "drop": between(marks, "barrier 2", "drop sent", dropping),
        "owner, from barrier 1 to parts seen": between(marks, "barrier 1", "parts seen", owner),
        "owner, sum and send": between(marks, "parts seen", "state sent", owner),
        "flight to all, from owner's send": between(marks, "state sent", "state seen", owner, 1),
        "saving, owner": between(marks, "state sent", "ended", owner),
        "saving, first warp": between(marks, "drop sent", "ended", slice(0, 1)),
        "first warp waits for the state": between(marks, "begun", "state seen", slice(0, 1)),
    }


def measure(t0: Tensor, grad: Tensor, blocks: Blocks, rows: int) -> dict[str, dict[str, float]]:
    """Phases of both directions, in cycles of the multiprocessor's clock."""
    forward, adjoint = Profiler(), Profiler()
    for _ in range(2):  # the first run finds cold caches
        _, kept = cluster.forward(t0, blocks, grad.shape[0], True, rows, forward)
        cluster.recursion(grad, kept, blocks, rows, adjoint)
    return {"forward": forward.found, "adjoint": adjoint.found}
