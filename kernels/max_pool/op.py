"""The public function: which way suits a map here, autograd. Letters as in reference.py."""

from __future__ import annotations

import torch
from torch import Tensor, library

import kernels
from kernels.choose import chosen, register
from kernels.gpu import require_gpu
from kernels.max_pool.candidates import make_task
from kernels.max_pool.reference import max_pool_reference, windows_along

_KERNELS = kernels.setting() != "torch"

register("max_pool", make_task)


def max_pool(x: Tensor, side: int) -> Tensor:
    """The largest of 3x3 pixels, padded by 1, or of 2x2, with stride 2.

    On a GPU in a half type it runs in the way that was chosen there (see ``kernels.choose``), else as PyTorch does it.

    Args:
        x: (N, C, H, W), any float type, channels last; differentiable.
        side: of a window, 3 or 2.

    Returns:
        (N, C, H/2, W/2) in the type of ``x``, rounded up for 3 and down for 2.

    Raises:
        ValueError: another ``side``.
    """
    if side not in (2, 3):
        raise ValueError(f"windows of {side}x{side} pixels: 2x2 and 3x3 are known")
    if _KERNELS and x.device.type == "cuda" and x.dtype in (torch.bfloat16, torch.float16):
        n, c, h, w = x.shape
        if chosen("max_pool", "forward+backward", side=side, n=n, c=c, h=h, w=w, dtype=x.dtype) == "triton":
            return _MaxPool.apply(x, side)
    return max_pool_reference(x, side)


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, side: int) -> Tensor:
        y, place = torch.ops.fastsep.max_pool(x.contiguous(memory_format=torch.channels_last), side)
        ctx.save_for_backward(place)
        ctx.sizes = side, *x.shape[2:]
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.contiguous(memory_format=torch.channels_last)
        return torch.ops.fastsep.max_pool_backward(grad, *ctx.saved_tensors, *ctx.sizes), None


def _launch(x: Tensor):
    """Triton is imported where a kernel is wanted: a CPU install has none."""
    from kernels.max_pool import launch

    require_gpu(x, "the Triton way")
    return launch


library.define("fastsep::max_pool", "(Tensor x, int side) -> (Tensor, Tensor)")
library.define("fastsep::max_pool_backward", "(Tensor grad, Tensor place, int side, int height, int width) -> Tensor")


@library.impl("fastsep::max_pool", ("cpu", "cuda"))
def _(x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    return _launch(x).forward(x, side)


@library.impl("fastsep::max_pool_backward", ("cpu", "cuda"))
def _(grad: Tensor, place: Tensor, side: int, height: int, width: int) -> Tensor:
    return _launch(grad).backward(grad, place, side, height, width)


@library.register_fake("fastsep::max_pool")
def _(x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    n, c, h, w = x.shape
    y = x.new_empty(n, c, windows_along(h, side), windows_along(w, side)).contiguous(memory_format=torch.channels_last)
    return y, torch.empty_like(y, dtype=torch.int8)


@library.register_fake("fastsep::max_pool_backward")
def _(grad: Tensor, place: Tensor, side: int, height: int, width: int) -> Tensor:
    y = grad.new_empty(*grad.shape[:2], height, width)
    return y.contiguous(memory_format=torch.channels_last)
