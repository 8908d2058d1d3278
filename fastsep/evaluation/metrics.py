"""Scores of frames, computed in batches on the device that holds them.

Letters: C channels, H and W pixels, F frames (all leading axes flattened).
"""

from __future__ import annotations

import torch
from torch import Tensor

_WINDOW = 11
_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2
# Frames filtered at once. On a CPU the four moments of 64 frames of 64x64 stay in the second-level cache.
_CHUNK = {"cpu": 64}
_CHUNK_ELSEWHERE = 8192


def mse(forecast: Tensor, truth: Tensor, frame_dims: int = 3) -> Tensor:
    """Mean squared error of each frame: (..., *shape) twice -> (...), where a frame has ``frame_dims`` axes."""
    return (forecast - truth).square_().flatten(-frame_dims).mean(-1)


def psnr(forecast: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each frame with values of 0 to 1: (..., C, H, W) twice -> (...).

    Channels are scored one by one and averaged, as published. A perfect frame scores 100 dB, so that means stay finite.
    """
    error = (forecast - truth).square_().mean((-2, -1)).clamp_min_(1e-10)  # (..., C)
    return error.log10_().mul_(-10).mean(-1)


def ssim(forecast: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each frame with values of 0 to 1: (..., C, H, W) twice -> (...).

    Gaussian window 11x11 of sigma 1.5, no padding, K1 0.01, K2 0.03, population covariance; the mean over channels
    (Wang et al. 2004). Equals scikit-image's ``structural_similarity`` with ``gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False``.

    Raises:
        ValueError: a frame is smaller than the window.
    """
    height, width = truth.shape[-2:]
    if min(height, width) < _WINDOW:
        raise ValueError(f"SSIM needs frames of at least {_WINDOW}x{_WINDOW} pixels, not {height}x{width}")
    frames = forecast.reshape(-1, height, width), truth.reshape(-1, height, width)
    rows = _filter(height, truth)
    columns = rows if width == height else _filter(width, truth)
    chunk = _CHUNK.get(truth.device.type, _CHUNK_ELSEWHERE)
    parts = [_ssim(x, y, rows, columns.mT) for x, y in zip(*(f.split(chunk) for f in frames), strict=True)]
    return torch.cat(parts).view(truth.shape[:-2]).mean(-1)


def _filter(size: int, like: Tensor) -> Tensor:
    """The Gaussian window along one axis as a banded matrix (size - 10, size): products are the fastest filter here."""
    distance = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    weights = torch.exp(-distance.square() / (2 * _SIGMA**2))
    weights /= weights.sum()
    offsets = torch.arange(size) - torch.arange(size - _WINDOW + 1)[:, None]  # (size - 10, size)
    inside = (offsets >= 0) & (offsets < _WINDOW)
    return torch.where(inside, weights[offsets.clamp(0, _WINDOW - 1)], 0.0).to(like)


def _ssim(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """SSIM of x, y (F, H, W): (F,). The four moments are filtered together."""
    moments = x.new_empty(4, *x.shape)
    moments[0].copy_(x)
    moments[1].copy_(y)
    torch.mul(x, y, out=moments[2])
    torch.mul(x, x, out=moments[3]).addcmul_(y, y)
    mean_x, mean_y, mean_xy, mean_squares = rows @ (moments @ columns)  # each (F, H - 10, W - 10)
    product = mean_x * mean_y
    squares = (mean_x * mean_x).addcmul_(mean_y, mean_y)
    luminance = (2 * product).add_(_C1).div_(squares + _C1)
    structure = mean_xy.sub_(product).mul_(2).add_(_C2).div_(mean_squares.sub_(squares).add_(_C2))
    return luminance.mul_(structure).mean((-2, -1))
