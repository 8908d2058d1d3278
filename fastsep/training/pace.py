"""How long a run trains; batch size and steps of one that leaves them open, by memory and the number of windows.

A batch is the largest power of two up to 128 whose activations fit half of the free memory and that leaves eight
batches to an epoch, but no less than 8 where there are so many windows. Steps are those of 25 passes over the windows,
but no less than 1,500, for a schedule needs its time, and no more than 20,000. Convolutional networks on a CPU,
where a large batch saves no time, get batches of up to 16 and 3 passes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fastsep.config import MAX_STEPS, Config, OptimConfig
from fastsep.data.residency import fits
from fastsep.errors import UserError
from fastsep.model import SeparableModel
from fastsep.network_kinds import kind_of
from fastsep.objective import objective

_LARGEST, _SMALLEST = 128, 8
_LARGEST_ON_CPU, _PASSES_ON_CPU = 16, 3
_BATCHES = 8
_PASSES, _LEAST_STEPS, _MOST_STEPS = 25, 1_500, 20_000
_BACKWARD = 2
"""Memory of a step, in what its forward pass keeps: gradients of activations come and go beside it."""


class Pace(NamedTuple):
    """How long a run trains."""

    total_steps: int
    steps_per_epoch: int


def pace_of(optim: OptimConfig, windows: int) -> Pace:
    """That of settled settings on ``windows`` training windows. Raises UserError for more steps than can be counted."""
    per_epoch = windows // optim.batch_size
    total = optim.steps or optim.epochs * per_epoch
    if total > MAX_STEPS:
        raise UserError(f"{optim.epochs:,} epochs are {total:,} steps: set --epochs to fewer")
    return Pace(total, per_epoch)


def settle_pace(config: Config, windows: int, device: torch.device, processes: int = 1) -> tuple[OptimConfig, str]:
    """The settings with batch size and steps for ``windows`` training windows.

    Args:
        config: with its model settled.
        processes: that train together, each on an equal share of a batch in its own memory.

    Returns:
        The settings, and a line that says what was chosen; "" where nothing was.
    """
    optim, said = config.optim, []
    slow = device.type == "cpu" and kind_of(config.model.encoder).convolutional
    if optim.batch_size is None:
        parts = optim.accumulate * processes
        size = largest_batch(windows, sequence_bytes(config, device) // parts, device)
        size = min(size, _LARGEST_ON_CPU) if slow else size
        size = max(size // parts, 1) * parts
        optim = replace(optim, batch_size=size)
        said.append(f"batches of {size} (--batch-size)")
    if optim.steps is None and optim.epochs is None:
        a_pass = max(windows // optim.batch_size, 1)
        steps = min(max((_PASSES_ON_CPU if slow else _PASSES) * a_pass, _LEAST_STEPS), _MOST_STEPS)
        optim = replace(optim, steps=steps)
        said.append(f"{steps:,} steps, {steps / a_pass:,.3g} passes over {windows:,} windows (--steps)")
    return optim, f"pace: {', '.join(said)}" if said else ""


def largest_batch(windows: int, each: int, device: torch.device) -> int:
    """The batch size for ``windows`` windows whose steps take ``each`` bytes of ``device``'s memory a window."""
    wanted = min(max(windows // _BATCHES, _SMALLEST), windows, _LARGEST)
    size = 1 << (max(wanted, 1).bit_length() - 1)
    while size > 2 and not fits(size * each, device):
        size //= 2
    return size


def sequence_bytes(config: Config, device: torch.device) -> int:
    """Memory of a step for each window of its batch, float32: counted on tensors without storage."""
    counts = [_kept_bytes(config, device, batch) for batch in (2, 4)]
    return _BACKWARD * (counts[1] - counts[0]) // 2


def _kept_bytes(config: Config, device: torch.device, batch: int) -> int:
    """What a forward pass of ``batch`` windows keeps for its backward pass, weights included."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with FakeTensorMode(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with device:
            model = SeparableModel(config.model)
            video = torch.empty(batch, config.window, *config.model.shape)
        objective(model, video, torch.tensor(config.model.nt_cond, device=device), config.objective)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
