"""A forecast beside the truth as one small image, for the training log."""

from __future__ import annotations

import torch
from torch import Tensor

_COLUMNS = 10
_GAP = 2
_LEAST_HEIGHT = 100
_GREY = 0.5


def forecast_strip(truth: Tensor, forecast: Tensor, mask: Tensor | None = None, rises: bool = False) -> Tensor:
    """Truth above forecast above absolute error.

    Args:
        truth: (N, C, H, W) or (N, C, points) of one sequence. Of images up to ten frames are shown side by side, of
            lists of points all frames, one column each. Two channels show the first.
        forecast: as ``truth``.
        mask: the cells that count, (H, W) or (points,) bool; the others are grey. By default all do.
        rises: the last row of an image is the upper one.

    Returns:
        (3, height, width) float32 of 0 to 1 on the CPU; all three rows share the truth's range.
    """
    truth, forecast = truth.detach().float().cpu(), forecast.detach().float().cpu()
    if rises and truth.ndim == 4:
        truth, forecast, mask = (None if part is None else part.flip(-2) for part in (truth, forecast, mask))
    counted = truth if mask is None else truth[..., mask.cpu()]
    low, high = counted.min(), counted.max()
    span = (high - low).clamp_min(1e-8)
    rows = [(truth - low) / span, (forecast - low) / span, (forecast - truth).abs() / span]
    draw = _images if truth.ndim == 4 else _points
    rows = [row.nan_to_num(0).clamp(0, 1) for row in rows]
    if mask is not None:
        rows = [row.masked_fill(~mask.cpu(), _GREY) for row in rows]
    drawn = [draw(row) for row in rows]
    gap = torch.ones(3, _GAP, drawn[0].shape[-1])
    return torch.cat([drawn[0], gap, drawn[1], gap, drawn[2]], dim=1)


def _images(frames: Tensor) -> Tensor:
    """(N, C, H, W) -> (3, H, width)."""
    chosen = torch.linspace(0, len(frames) - 1, min(_COLUMNS, len(frames))).round().long()
    colours = frames[chosen] if frames.shape[1] == 3 else frames[chosen, :1].expand(-1, 3, -1, -1)
    padded = torch.nn.functional.pad(colours, (0, _GAP), value=1.0)
    return torch.cat(list(padded), dim=2)[..., :-_GAP]


def _points(frames: Tensor) -> Tensor:
    """(N, C, points) -> (3, height, width): points downwards, time to the right, enlarged to be seen."""
    image = frames[:, 0].T  # (points, N)
    scale = max(1, _LEAST_HEIGHT // len(image))
    image = image.repeat_interleave(scale, 0).repeat_interleave(4 * scale, 1)
    return image.expand(3, -1, -1)
