"""ResNet-18 encoder of frames (He et al., 2016), with a 5x5 stem and a convolution for the code.

The published network is that for 64x64 pixels, whose trunk ends with 3x3; the last convolution is as large as the map.

Letters: K network calls, B batch, n conditioning frames, C channels.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.convolutions import Conv2d, EntryConv2d, conv3
from fastsep.networks.layers import CallBatchNorm2d, conv_norm
from kernels.max_pool import max_pool


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut; ReLU after the first and after the sum."""

    NORMS: ClassVar[dict[str, str]] = {"norm1": "conv1", "norm2": "conv2", "shortcut_norm": "shortcut"}

    def __init__(self, size: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3(size, out, stride)
        self.norm1 = CallBatchNorm2d(out)
        self.conv2 = conv3(out, out)
        self.norm2 = CallBatchNorm2d(out)
        self.shortcut = None
        if stride > 1 or size != out:
            self.shortcut = Conv2d(size, out, 1, stride=stride)
            self.shortcut_norm = CallBatchNorm2d(out)

    def forward(self, x: Tensor, calls: int) -> Tensor:
        """(K*B, C, H, W) -> (K*B, C', H/stride, W/stride)."""
        y = conv_norm(self.conv1, self.norm1, x, calls=calls, slope=0.0)
        y = conv_norm(self.conv2, self.norm2, y, calls=calls)
        if self.shortcut is not None:
            x = conv_norm(self.shortcut, self.shortcut_norm, x, calls=calls)
        return F.relu(y + x)


def trunk_size(size: int) -> int:
    """Height (or width) of the trunk's last map for frames of that height: 3 for 64, 2 for 32."""
    size = (size + 1) // 2 + 1  # the stem's padding is one more than keeps the image
    for _ in range(4):  # the pooling, and three stages
        size = (size + 1) // 2
    return size


class ResNetEncoder(nn.Module):
    """Frames to a code; it has no skip features."""

    NORMS: ClassVar[dict[str, str]] = {"stem_norm": "stem"}

    def __init__(self, channels: int, space: tuple[int, int], code_size: int) -> None:
        """``channels`` is n * C: the conditioning frames are stacked on the channel axis; ``space`` is (H, W)."""
        super().__init__()
        self.stem = EntryConv2d(channels, 64, 5, stride=2, padding=3)
        self.stem_norm = CallBatchNorm2d(64)
        sizes = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.blocks = nn.ModuleList(
            block for size, out, stride in sizes for block in (BasicBlock(size, out, stride), BasicBlock(out, out, 1))
        )
        self.code = Conv2d(512, code_size, tuple(map(trunk_size, space)))
        # The published network holds this layer and never calls it; it stays so that weights map by order.
        self.unused_norm = CallBatchNorm2d(code_size).requires_grad_(False)

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(K, B, n, C, H, W) -> code (K, B, code), and no skip features."""
        calls = frames.shape[0]
        x = frames.flatten(2, 3).flatten(0, 1)  # (K*B, n*C, H, W)
        x = conv_norm(self.stem, self.stem_norm, x, calls=calls, slope=0.0)  # (K*B, 64, H/2 + 1, W/2 + 1)
        x = max_pool(x, 3)  # (K*B, 64, H/4 + 1, W/4 + 1)
        for block in self.blocks:
            x = block(x, calls)
        return self.code(x).flatten(1).unflatten(0, (calls, -1)), ()
