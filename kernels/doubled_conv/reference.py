"""The definition, and the same convolution with 4/9 of the arithmetic, in plain PyTorch.

Letters: N images, C input and F output channels, H x W pixels before the doubling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def doubled_conv_reference(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N, C, H, W) doubled by nearest neighbours, then convolved with ``weight`` (F, C, 3, 3): (N, F, 2H, 2W)."""
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)


def folded_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same as one transposed convolution, 4x4 with stride 2, on the image as it is."""
    return F.conv_transpose2d(x, widen(weight), bias, stride=2, padding=1)


def widen(weight: Tensor) -> Tensor:
    """(F, C, 3, 3) -> (C, F, 4, 4): the sums of all 2x2 windows of the padded kernel, turned by half a turn.

    A pixel of the doubled image stands twice beside itself: the three taps that meet it merge into two, which two
    depends on the parity of the output pixel. A transposed convolution keeps the four cases side by side.
    """
    return _Widen.apply(weight)


class _Widen(torch.autograd.Function):
    """By slices, with few passes over weights that lie channels last.

    Not by ``avg_pool2d``: its gradient, padded and channels last, is wrong on GPUs (PyTorch 2.11,
    pytorch/pytorch#188344).
    """

    @staticmethod
    def forward(ctx, weight: Tensor) -> Tensor:
        padded = F.pad(weight.transpose(0, 1).flip(2, 3), (1, 1, 1, 1))
        return _add_neighbours(_add_neighbours(padded, 2), 3)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        last = grad.permute(0, 2, 3, 1)  # (C, 4, 4, F): sums run along memory
        return _add_neighbours(_add_neighbours(last, 1), 2).flip(1, 2).permute(3, 0, 1, 2)


def _add_neighbours(x: Tensor, dim: int) -> Tensor:
    """Sums of neighbours along ``dim``, which becomes one shorter."""
    return x.narrow(dim, 1, x.shape[dim] - 1) + x.narrow(dim, 0, x.shape[dim] - 1)
