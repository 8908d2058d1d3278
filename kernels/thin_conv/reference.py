"""The definitions, in plain PyTorch.

Letters: N images, C input and F output channels, H x W pixels of the input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def entry_reference(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, slope: float
) -> Tensor:  # fmt: skip
    """LeakyReLU of a convolution of frames ``x`` (N, C, H, W) with ``weight`` (F, C, k, k): (N, F, H', W')."""
    y = F.conv2d(x, weight, bias, stride, padding)
    return y if slope == 1.0 else F.leaky_relu(y, slope, inplace=True)


def exit_reference(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, stride: int) -> Tensor:
    """A convolution (padding 1) of ``x`` (N, C, H, W) to frames: (N, F, s H, s W), in float32 at least.

    ``weight`` is (F, C, 3, 3), or for a transposed convolution (C, F, 3, 3) with stride 1 or (C, F, 4, 4) with 2.
    """
    convolve = F.conv_transpose2d if transposed else F.conv2d
    y = convolve(x, weight, bias, stride, padding=1)
    return y if y.dtype == torch.float64 else y.float()
