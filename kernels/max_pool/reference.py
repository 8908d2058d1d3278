"""The definition, in plain PyTorch.

Letters: N images, C channels, H x W pixels, OH x OW windows: H/2 and W/2, rounded up where windows have 3x3 pixels,
down where they have 2x2.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def max_pool_reference(x: Tensor, side: int) -> Tensor:
    """The largest of 3x3 pixels, padded by 1, or of 2x2, with stride 2, of ``x`` (N, C, H, W): (N, C, OH, OW)."""
    return F.max_pool2d(x, side, stride=2, padding=side - 2)


def windows_along(pixels: int, side: int) -> int:
    """Windows along a height or width."""
    return (pixels + side - 2) // 2
