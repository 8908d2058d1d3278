"""MSE, PSNR and SSIM one frame at a time, straight from their definitions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def window(size: int = 11, sigma: float = 1.5) -> Tensor:
    """Gaussian (1, 1, size, size) of sum 1."""
    x = torch.arange(size) - (size - 1) / 2
    line = torch.exp(-x.square() / (2 * sigma**2))
    line = line / line.sum()
    return torch.outer(line, line)[None, None]


def ssim_frame(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of two frames (C, H, W) of range 1 (Wang et al., 2004): 11x11 Gaussian of sigma 1.5, no padding."""
    kernel = window().to(a)
    a, b = a[:, None], b[:, None]  # channels as a batch: (C, 1, H, W)
    mean_a, mean_b = F.conv2d(a, kernel), F.conv2d(b, kernel)
    var_a = F.conv2d(a * a, kernel) - mean_a**2
    var_b = F.conv2d(b * b, kernel) - mean_b**2
    cov = F.conv2d(a * b, kernel) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return score.mean()


def score_frame(frame: Tensor, goal: Tensor) -> Tensor:
    """MSE, PSNR and SSIM of a frame (C, H, W): (3,)."""
    mse = (frame - goal).square().mean()
    return torch.stack([mse, -10 * torch.log10(mse), ssim_frame(frame, goal)])


def score_frames(
    forecast: Tensor, truth: Tensor, score: Callable[[Tensor, Tensor], Tensor] = score_frame
) -> dict[str, Tensor]:
    """``mse``, ``psnr`` and ``ssim`` of every frame of (B, N, C, H, W), each (B, N); ``score`` may be compiled."""
    rows = [
        score(frame, goal)
        for video, target in zip(forecast, truth, strict=True)
        for frame, goal in zip(video, target, strict=True)
    ]
    values = torch.stack(rows).view(*forecast.shape[:2], 3)
    return dict(zip(("mse", "psnr", "ssim"), values.unbind(-1), strict=True))
