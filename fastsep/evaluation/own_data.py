"""What is scored on data that nobody published scores of, the user's own frames among them.

Letters: B batch, h forecast horizon, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastsep.data.base import DataConfig
from fastsep.data.frames.mean import mean_frame
from fastsep.data.frames.settings import Frames
from fastsep.data.scaling import Scaling
from fastsep.data.windows import Windows
from fastsep.evaluation.forecasting import Batch
from fastsep.evaluation.metrics import psnr, ssim
from fastsep.evaluation.protocols import MSE, PSNR, SSIM, Metric, Protocol

_LEAST_SIDE = 11
"""Pixels that SSIM needs."""
_SCALED = {"minmax": " (channels scaled to 0..1)", "standard": " (channels scaled to deviation 1)"}


class OwnData(Protocol):
    """Mean squared error as the model sees frames, and its root for each channel in the data's own units.

    Cells that do not count are left out.
    """

    horizons = ()

    def __init__(self, settings: DataConfig, windows: Windows):
        super().__init__(settings, windows)
        scaling, mask = windows.scaling, windows.mask
        self.metrics = {"mse": MSE, **(_by_channel(scaling) if scaling else {})}
        self._names = list(self.metrics)[1:]
        self._mask = mask
        self._cells = math.prod(windows.shape[1:]) if mask is None else int(mask.sum())
        self._factors = torch.from_numpy(scaling.factor).to(windows.device) if scaling else None  # (C,)

    def score_baseline(self, forecast: Tensor, batch: Batch) -> dict[str, Tensor]:
        difference = forecast - batch.truth
        if self._mask is not None:
            difference = difference.masked_fill(~self._mask, 0.0)
        squares = difference.square_().flatten(3).sum(-1) / self._cells  # (B, h, C)
        scores = {"mse": squares.mean(-1)}
        if self._factors is not None:
            own = (squares * self._factors.square()).unbind(-1)
            scores |= dict(zip(self._names, own, strict=True))
        return scores


class OwnFrames(OwnData):
    """The same of the user's own frames, whose mean is a baseline.

    Complete images of one or three channels whose training part lies in 0 to 1 get PSNR and SSIM beside.
    """

    def __init__(self, settings: Frames, windows: Windows):
        super().__init__(settings, windows)
        self.metrics["mse"] = Metric(MSE.label + _SCALED.get(settings.scale, ""))
        self._has_images = settings.scale == "minmax" and _are_whole_images(windows)
        if self._has_images:
            self.metrics |= {"psnr": PSNR, "ssim": SSIM}
        if not windows.whole:  # of those that are scored it would be an oracle
            self.mean_frame = mean_frame(settings, windows.scaling).to(windows.device)

    def score(self, forecast: Tensor, batch: Batch) -> dict[str, Tensor]:
        scores = self.score_baseline(forecast, batch)
        if self._has_images:
            scores |= {"psnr": psnr(forecast, batch.truth), "ssim": ssim(forecast, batch.truth)}
        return scores


def _by_channel(scaling: Scaling) -> dict[str, Metric]:
    """The root mean squared error of each channel, by name if names tell channels apart."""
    count = len(scaling.shift)
    names = scaling.names if len(set(scaling.names)) == count and all(scaling.names) else ()
    metrics = {}
    for channel in range(count):
        unit = scaling.units[channel] if channel < len(scaling.units) else ""
        of = f" of {names[channel]}" if names else f" of channel {channel}" if count > 1 else ""
        key = f"_{names[channel]}" if names else f"_{channel}" if count > 1 else ""
        metrics[f"rmse{key}"] = Metric(f"RMSE{of} [{unit}]" if unit else f"RMSE{of}, own units", root=True)
    return metrics


def _are_whole_images(windows: Windows) -> bool:
    channels, *sides = windows.shape
    return windows.mask is None and len(sides) == 2 and channels in (1, 3) and min(sides) >= _LEAST_SIDE
