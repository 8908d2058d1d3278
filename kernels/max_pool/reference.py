"""The definition, in plain PyTorch.

Letters: N images, C channels, H x W pixels, OH x OW windows: H/2 and W/2, rounded up.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def max_pool_reference(x: Tensor) -> Tensor:
    """The largest of 3x3 pixels, stride 2, padding 1, of ``x`` (N, C, H, W): (N, C, OH, OW)."""
    return F.max_pool2d(x, 3, stride=2, padding=1)
