"""The definition, in plain PyTorch, and its derivatives by hand.

Letters: K network calls, B images a call, C channels, H x W pixels, M = B*H*W values a call and channel.
"""

from __future__ import annotations

import torch
from torch import Tensor


def call_norm_reference(
    x: Tensor, weight: Tensor, bias: Tensor, calls: int, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """y = act(weight * (x - mean_k) / sqrt(var_k + eps) + bias), act(z) = z if z > 0 else slope * z.

    Args:
        x: (K*B, C, H, W), calls outermost. Differentiable, as are ``weight`` (C,) and ``bias`` (C,).

    Returns:
        y (K*B, C, H, W) in the type of ``x``; mean and biased variance (K, C) in the type of ``weight``.
    """
    grouped = x.unflatten(0, (calls, -1)).to(weight.dtype)  # (K, B, C, H, W)
    var, mean = torch.var_mean(grouped, dim=(1, 3, 4), correction=0)  # (K, C)
    scale = weight * torch.rsqrt(var + eps)
    shift = bias - mean * scale
    z = grouped * _spread(scale) + _spread(shift)
    y = torch.where(z > 0, z, slope * z)
    return y.to(x.dtype).flatten(0, 1), mean.detach(), var.detach()


def call_norm_backward_reference(
    grad: Tensor, x: Tensor, y: Tensor, mean: Tensor, var: Tensor, weight: Tensor, calls: int, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by ``x``, ``weight`` and ``bias``; the branch of the activation is read off the sign of ``y``."""
    grad, x, y = (t.unflatten(0, (calls, -1)) for t in (grad, x, y))  # (K, B, C, H, W)
    by_z = torch.where(y > 0, grad, slope * grad).to(weight.dtype)
    rstd = torch.rsqrt(var + eps)
    normalised = (x.to(weight.dtype) - _spread(mean)) * _spread(rstd)
    by_bias = by_z.sum((1, 3, 4))  # (K, C)
    by_weight = (by_z * normalised).sum((1, 3, 4))
    count = x[0, :, 0].numel()
    by_x = _spread(weight * rstd) * (by_z - _spread(by_bias / count) - normalised * _spread(by_weight / count))
    return by_x.to(x.dtype).flatten(0, 1), by_weight.sum(0), by_bias.sum(0)


def _spread(per_call: Tensor) -> Tensor:
    """(K, C) -> (K, 1, C, 1, 1)."""
    return per_call[:, None, :, None, None]
