"""How well a model in training forecasts test windows.

Letters: n conditioning frames, h predicted frames; ``*shape`` one frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastsep.data.windows import Windows
from fastsep.model import SeparableModel
from fastsep.objective import Cells, mean_square
from fastsep.room import frames_at_once

_WINDOWS = 64


@torch.no_grad()
def validate(model: SeparableModel, windows: Windows) -> tuple[float, Tensor, Tensor]:
    """Mean squared error over windows spread across the test set, as many at once as fit memory.

    Returns:
        The error, and frames of the first window and their forecast, (h, *shape) each on the CPU.
    """
    count = min(_WINDOWS, len(windows))
    index = torch.linspace(0, len(windows) - 1, count, device=windows.device).long()
    n, cells = model.config.nt_cond, Cells.of(windows.mask)
    total, shown = 0.0, None
    model.eval()
    for part in index.split(max(1, frames_at_once(model.config, windows.device) // windows.length)):
        video = windows.batch(part)  # (B, n + h, *shape)
        truth = video[:, n:]
        forecast = model.forecast(video[:, :n], truth.shape[1])
        total = total + mean_square(forecast, truth, cells) * (len(part) / count)
        shown = shown or (truth[0].cpu(), forecast[0].cpu())
    model.train()
    return total.item(), *shown
