"""The definition, in plain PyTorch, twice: call by call, and in one reduction.

Letters: K network calls, B images a call, C channels, H x W pixels, M = B*H*W values a call and channel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def call_by_call(
    x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, conv_bias: Tensor | None,
    calls: int, momentum: float, eps: float, slope: float,
) -> Tensor:  # fmt: skip
    """K batch norms in order, then LeakyReLU; arguments as in op.py."""
    # The norm keeps the running mean for its gradient (and does not read it): it gets one that nothing else changes.
    moved = running_mean if conv_bias is None else running_mean.clone()
    rest = moved, running_var, weight, bias, True, momentum, eps
    parts = [F.batch_norm(call, *rest) for call in x.chunk(calls)]
    if conv_bias is not None:
        add_bias(running_mean.copy_(moved), conv_bias, calls, momentum)
    y = torch.cat(parts) if calls > 1 else parts[0]
    return y if slope == 1.0 else F.leaky_relu(y, slope, inplace=True)


def grouped(
    x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, conv_bias: Tensor | None,
    calls: int, momentum: float, eps: float, slope: float,
) -> Tensor:  # fmt: skip
    """The same with all calls in one reduction, which a compiler can fuse with its surroundings.

    y = act(weight * (x - mean_k) / sqrt(var_k + eps) + bias), act(z) = z if z > 0 else slope * z.
    """
    parts = x.unflatten(0, (calls, -1)).to(weight.dtype)  # (K, B, C, H, W)
    var, mean = torch.var_mean(parts, dim=(1, 3, 4), correction=0)  # (K, C)
    scale = weight * torch.rsqrt(var + eps)
    shift = bias - mean * scale
    z = parts * spread(scale) + spread(shift)
    move_running(running_mean, running_var, mean, var, parts[0, :, 0].numel(), momentum)
    if conv_bias is not None:
        add_bias(running_mean, conv_bias, calls, momentum)
    return torch.where(z > 0, z, slope * z).to(x.dtype).flatten(0, 1)


@torch.no_grad()
def move_running(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, var: Tensor, count: int, momentum: float
) -> None:
    """Move the running statistics as K updates in order would, from per-call ``mean`` and biased ``var`` (K, C).

    r <- (1-m)^K r + sum_k m (1-m)^(K-1-k) x_k, with the unbiased variance as in ``nn.BatchNorm2d``.
    """
    calls, keep = mean.shape[0], 1.0 - momentum
    age = torch.arange(calls - 1, -1, -1, device=mean.device, dtype=mean.dtype)
    share = (momentum * keep**age)[:, None]  # (K, 1); made on the device, so that a graph can capture it
    running_mean.mul_(keep**calls).add_((share * mean).sum(0))
    running_var.mul_(keep**calls).add_((share * var).sum(0) * (count / (count - 1)))


@torch.no_grad()
def add_bias(running_mean: Tensor, conv_bias: Tensor, calls: int, momentum: float) -> None:
    """What the mean of each call, and so the running mean, lacks where a convolution left out its bias."""
    running_mean.add_(conv_bias, alpha=1.0 - (1.0 - momentum) ** calls)


def spread(per_call: Tensor) -> Tensor:
    """(K, C) -> (K, 1, C, 1, 1)."""
    return per_call[:, None, :, None, None]
