"""Batch norm per call over images that several processes hold: each has B of the R*B images of every call.

Letters as in reference.py; R processes. What a process cannot know alone are two numbers a call and channel each way,
which all of them exchange: forward the means and variances, backward the sums of dz and dz * (x - mean).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.call_norm.reference import add_bias, move_running, spread

Gather = Callable[[Tensor], Tensor]
"""A tensor of this process -> those of all processes, stacked (R, ...); the same on all."""


class SharedCallNorm(torch.autograd.Function):
    """``grouped`` over the images of all processes.

    Every process differentiates the mean loss of its own images, which is R times their share in the mean of all. The
    derivatives by x are so much too large, too, and averaging those by weights over the processes puts it right.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        conv_bias: Tensor | None, calls: int, momentum: float, eps: float, slope: float, gather: Gather,
    ) -> Tensor:  # fmt: skip
        parts = x.unflatten(0, (calls, -1)).to(weight.dtype)  # (K, B, C, H, W)
        var, mean = torch.var_mean(parts, dim=(1, 3, 4), correction=0)  # (K, C)
        moments = gather(torch.stack([mean, var]))  # (R, 2, K, C)
        mean, var = merged(moments)
        count = len(moments) * parts[0, :, 0].numel()  # R*M
        scale = weight * torch.rsqrt(var + eps)
        shift = bias - mean * scale
        z = parts * spread(scale) + spread(shift)
        move_running(running_mean, running_var, mean, var, count, momentum)
        if conv_bias is not None:
            add_bias(running_mean, conv_bias, calls, momentum)
        ctx.save_for_backward(x, mean, var, scale, shift)
        ctx.settings = calls, eps, slope, gather
        return torch.where(z > 0, z, slope * z).to(x.dtype).flatten(0, 1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, var, scale, shift = ctx.saved_tensors
        calls, eps, slope, gather = ctx.settings
        parts, dz = (tensor.unflatten(0, (calls, -1)).to(scale.dtype) for tensor in (x, grad))
        dz = torch.where(parts * spread(scale) + spread(shift) > 0, dz, slope * dz)
        off = parts - spread(mean)
        own = torch.stack([dz.sum((1, 3, 4)), (dz * off).sum((1, 3, 4))])  # (2, K, C)
        sums = gather(own)  # (R, 2, K, C)
        by_shift, by_off = sums.sum(0)
        precision = 1.0 / (var + eps)
        count = len(sums) * parts[0, :, 0].numel()
        dx = spread(scale) * (dz - spread(by_shift / count) - off * spread(by_off * precision / count))
        by_bias, by_weight = own[0].sum(0), (own[1] * precision.sqrt()).sum(0)
        return dx.to(x.dtype).flatten(0, 1), by_weight, by_bias, *[None] * 8


def merged(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of equally many values each: (R, 2, K, C) -> (K, C), (K, C).

    Deviations of the parts' means are added to their variances (Chan, Golub and LeVeque, 1983), so that a large mean
    costs no digits.
    """
    means, variances = moments.unbind(1)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)
