"""Batch norm per call over images that several processes hold: each has B of the R*B images of every call.

Letters as in reference.py; R processes. What a process cannot know alone are two numbers a call and channel each way,
which all of them exchange: forward the means and variances, backward the sums of dz and dz * (x - mean). What comes
before and after an exchange is done in plain PyTorch or by the Triton kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.call_norm.reference import add_bias, move_running, spread

Gather = Callable[[Tensor], Tensor]
"""A tensor of this process -> those of all processes, stacked (R, ...); the same on all."""


class Pieces(NamedTuple):
    """What a process does alone. ``stats`` (4, K, C): mean, biased variance, and the norm as scale * x + shift."""

    statistics: Callable[..., Tensor]
    """(x, weight, bias, calls, eps) -> stats of its own images."""
    normalise: Callable[..., Tensor]
    """(x, stats, running_mean, running_var, conv_bias, calls, ranks, momentum, slope) -> y."""
    sums: Callable[..., Tensor]
    """(grad, x, stats, calls, slope) -> (2, K, C): sums of dz and of dz * (x - mean)."""
    derivatives: Callable[..., tuple[Tensor, Tensor, Tensor]]
    """(grad, x, stats, sums, calls, ranks, eps, slope) -> by x; by weight and bias from the sums as they are."""
    memory_format: torch.memory_format | None
    """How x and grad must lie; None: anyhow."""

    def lay_out(self, tensor: Tensor) -> Tensor:
        """``tensor`` as the pieces take it."""
        return tensor if self.memory_format is None else tensor.contiguous(memory_format=self.memory_format)


class SharedCallNorm(torch.autograd.Function):
    """``grouped`` over the images of all processes.

    Every process differentiates the mean loss of its own images, which is R times their share in the mean of all. The
    derivatives by x are so much too large, too, and averaging those by weights over the processes puts it right.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        conv_bias: Tensor | None, calls: int, momentum: float, eps: float, slope: float, gather: Gather, pieces: Pieces,
    ) -> Tensor:  # fmt: skip
        x = pieces.lay_out(x)
        own = pieces.statistics(x, weight, bias, calls, eps)
        moments = gather(own[:2])  # (R, 2, K, C)
        mean, var = merged(moments)
        scale = weight * torch.rsqrt(var + eps)
        stats = torch.stack([mean, var, scale, bias - mean * scale])
        ctx.save_for_backward(x, stats)
        ctx.settings = calls, eps, slope, gather, pieces
        return pieces.normalise(x, stats, running_mean, running_var, conv_bias, calls, len(moments), momentum, slope)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, stats = ctx.saved_tensors
        calls, eps, slope, gather, pieces = ctx.settings
        grad = pieces.lay_out(grad)
        sums = gather(pieces.sums(grad, x, stats, calls, slope))  # (R, 2, K, C)
        ranks = len(sums)
        by_x, by_weight, by_bias = pieces.derivatives(grad, x, stats, sums.sum(0), calls, ranks, eps, slope)
        return by_x, by_weight / ranks, by_bias / ranks, *[None] * 9


def merged(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of equally many values each: (R, 2, K, C) -> (K, C), (K, C).

    Deviations of the parts' means are added to their variances (Chan, Golub and LeVeque, 1983), so that a large mean
    costs no digits.
    """
    means, variances = moments.unbind(1)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def _statistics(x: Tensor, weight: Tensor, bias: Tensor, calls: int, eps: float) -> Tensor:
    var, mean = torch.var_mean(_by_call(x, weight, calls), dim=(1, 3, 4), correction=0)  # (K, C)
    scale = weight * torch.rsqrt(var + eps)
    return torch.stack([mean, var, scale, bias - mean * scale])


def _normalise(
    x: Tensor, stats: Tensor, running_mean: Tensor, running_var: Tensor, conv_bias: Tensor | None,
    calls: int, ranks: int, momentum: float, slope: float,
) -> Tensor:  # fmt: skip
    mean, var, scale, shift = stats
    parts = _by_call(x, stats, calls)
    move_running(running_mean, running_var, mean, var, ranks * parts[0, :, 0].numel(), momentum)
    if conv_bias is not None:
        add_bias(running_mean, conv_bias, calls, momentum)
    z = parts * spread(scale) + spread(shift)
    return torch.where(z > 0, z, slope * z).to(x.dtype).flatten(0, 1)


def _sums(grad: Tensor, x: Tensor, stats: Tensor, calls: int, slope: float) -> Tensor:
    dz, off = _by_z(grad, x, stats, calls, slope)
    return torch.stack([dz.sum((1, 3, 4)), (dz * off).sum((1, 3, 4))])


def _derivatives(
    grad: Tensor, x: Tensor, stats: Tensor, sums: Tensor, calls: int, ranks: int, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    dz, off = _by_z(grad, x, stats, calls, slope)
    by_shift, by_off = sums
    precision = 1.0 / (stats[1] + eps)
    count = ranks * dz[0, :, 0].numel()
    dx = spread(stats[2]) * (dz - spread(by_shift / count) - off * spread(by_off * precision / count))
    return dx.to(x.dtype).flatten(0, 1), (by_off * precision.sqrt()).sum(0), by_shift.sum(0)


def _by_call(x: Tensor, like: Tensor, calls: int) -> Tensor:
    """(K, B, C, H, W) in the type of sums."""
    return x.unflatten(0, (calls, -1)).to(like.dtype)


def _by_z(grad: Tensor, x: Tensor, stats: Tensor, calls: int, slope: float) -> tuple[Tensor, Tensor]:
    """dz and x - mean, (K, B, C, H, W)."""
    mean, _, scale, shift = stats
    parts, dz = _by_call(x, stats, calls), _by_call(grad, stats, calls)
    return torch.where(parts * spread(scale) + spread(shift) > 0, dz, slope * dz), parts - spread(mean)


PLAIN = Pieces(_statistics, _normalise, _sums, _derivatives, None)
"""In plain PyTorch, wherever x and grad lie."""
