"""The definition, and the same convolution with 4/9 of the arithmetic, in plain PyTorch.

Letters: N images, C input and F output channels, H x W pixels before the doubling.
"""

from __future__ import annotations

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
    padded = F.pad(weight, (1, 1, 1, 1))
    # Not avg_pool2d: PyTorch 2.11's gradient of it, padded and channels last, is wrong on GPUs (pytorch/pytorch#188344).
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    sums = rows[..., 1:] + rows[..., :-1]  # (F, C, 4, 4)
    return sums.flip(2, 3).transpose(0, 1)
