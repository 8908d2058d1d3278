"""Call by call on a CPU with PyTorch's own kernels, which write and activate each call where it belongs.

Letters as in reference.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class NativeCallNorm(torch.autograd.Function):
    """``call_by_call`` bit for bit, without passes that join or activate whole maps: call by call, in the caches."""

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        conv_bias: Tensor | None, calls: int, momentum: float, eps: float, slope: float,
    ) -> Tensor:  # fmt: skip
        y = torch.empty_like(x)
        stats = weight.new_empty(2, calls, x.shape[1])  # mean and 1/sqrt(var + eps) of each call
        rest = weight, bias, running_mean, running_var, True, momentum, eps
        for part, out, mean, rstd in zip(x.chunk(calls), y.chunk(calls), *stats, strict=True):
            torch.native_batch_norm(part, *rest, out=(out, mean, rstd))
            if slope != 1.0:
                F.leaky_relu_(out, slope)
        if conv_bias is not None:
            running_mean.add_(conv_bias, alpha=1.0 - (1.0 - momentum) ** calls)
        ctx.save_for_backward(x, y, weight, stats)
        ctx.settings = calls, eps, slope
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, stats = ctx.saved_tensors
        calls, eps, slope = ctx.settings
        aten, by_x = torch.ops.aten, torch.empty_like(x)
        sums = []
        parts = (tensor.chunk(calls) for tensor in (grad, x, y, by_x))
        for dz, part, out, dx, mean, rstd in zip(*parts, *stats, strict=True):
            if slope != 1.0:
                dz = aten.leaky_relu_backward(dz, out, slope, True)  # the branch is read off the sign of y
            one, *rest = aten.native_batch_norm_backward(
                dz, part, weight, None, None, mean, rstd, True, eps, [True, True, True]
            )
            dx.copy_(one)
            sums.append(torch.stack(rest))
        by_weight, by_bias = torch.stack(sums).sum(0)
        return by_x, by_weight, by_bias, *[None] * 7
