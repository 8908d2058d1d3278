"""Forecasts of a whole test set, a batch at a time, in float32.

Letters: B batch, n conditioning frames, h forecast horizon; ``*shape`` one frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from fastsep import distributed
from fastsep.data.windows import Windows
from fastsep.machine.exact import exact_products
from fastsep.model import SeparableModel
from fastsep.progress import progress_bar
from fastsep.room import frames_at_once


class Batch(NamedTuple):
    """Some test windows and what was forecast from their first frames."""

    index: Tensor
    """(B,) int64, the windows' numbers."""
    cond: Tensor
    """(B, n, *shape), the conditioning frames."""
    truth: Tensor
    """(B, h, *shape), the frames that followed."""
    forecast: Tensor
    """(B, h, *shape), the model's."""


def forecasts(
    model: SeparableModel, windows: Windows, horizon: int, batch_size: int | None = None, progress: bool = False
) -> Iterator[Batch]:
    """Forecast every window, in order; one batch is in memory at a time."""
    n = model.config.nt_cond
    for index in batches(model, windows, horizon, batch_size, "forecasts", progress):
        video = windows.batch(index)
        yield Batch(index, video[:, :n], video[:, n : n + horizon], model.forecast(video[:, :n], horizon))


def batches(
    model: SeparableModel, windows: Windows, horizon: int, batch_size: int | None, label: str, progress: bool
) -> Iterator[Tensor]:
    """Window numbers (B,) on the windows' device, of the batches that fall to this rank, under a progress bar."""
    world = distributed.current()
    step = batch_size or min(world.gather(default_batch_size(model, horizon, windows.device)))
    with progress_bar(total=len(windows), desc=label, unit="seq", disable=not progress or not world.is_first) as bar:
        for first in range(world.rank * step, len(windows), world.size * step):
            index = torch.arange(first, min(first + step, len(windows)), device=windows.device)
            yield index
            bar.update(min(world.size * step, len(windows) - first))


def default_batch_size(model: SeparableModel, horizon: int, device: torch.device) -> int:
    """Sequences whose decoding fits memory comfortably."""
    return max(1, frames_at_once(model.config, device) // horizon)


@contextmanager
def exact_float32() -> Iterator[None]:
    """No derivatives, and float32 products that are not rounded to TF32."""
    with exact_products(), torch.inference_mode():
        yield
