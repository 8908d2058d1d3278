"""VGG encoder and decoder of square frames: stages of 3x3 blocks between poolings and doublings.

The published networks are those for 32x32 and 64x64 pixels: four stages, and a last pooling for the latter. 16x16 has a
stage less; larger sizes have one more for each power of two.

Letters: K network calls, B batch, n conditioning frames, C channels, f filters of the first stage, s and t code sizes.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.convolutions import CodeConvTranspose2d, Conv2d, ExitConvTranspose2d
from fastsep.networks.layers import Block, conv3_stage, run_blocks, to_frames
from kernels.max_pool import max_pool


def stage_widths(size: int, filters: int) -> list[int]:
    """Channels of each stage for frames of ``size`` x ``size``, largest image first: f, 2f, 4f, and 8f from there."""
    return [filters * min(2**stage, 8) for stage in range(size.bit_length() - (3 if _pools_last(size) else 2))]


def _pools_last(size: int) -> bool:
    """Whether the last stage is of 8x8 images, which are pooled once more; those of small frames end with 4x4."""
    return size >= 64


class VGGEncoder(nn.Module):
    """Frames to a code; a 2x2 max-pool in front of every stage but the first."""

    def __init__(self, channels: int, size: int, filters: int, code_size: int, skips: bool = False) -> None:
        """``channels`` is n * C: the conditioning frames are stacked on the channel axis; ``size`` is H and W."""
        super().__init__()
        widths = stage_widths(size, filters)
        self.stages = nn.ModuleList(
            conv3_stage([before] + [width] * (2 if i < 2 else 3), reads_frames=i == 0)
            for i, (before, width) in enumerate(pairwise([channels, *widths]))
        )
        self.last = Block(Conv2d(widths[-1], code_size, 4), activation=False)
        self.pool_last = _pools_last(size)
        self.skips = skips

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(K, B, n, C, H, W) -> code (K, B, code), features of the stages (K, B, c, h, w), deepest first."""
        calls = frames.shape[0]
        x = frames.flatten(2, 3).flatten(0, 1)  # (K*B, n*C, H, W)
        features = []
        for i, stage in enumerate(self.stages):
            x = run_blocks(stage, self._pool(x) if i else x, calls)
            features.append(x.unflatten(0, (calls, -1)))
        code = self.last(self._pool(x) if self.pool_last else x, calls)  # (K*B, code, 1, 1)
        return code.flatten(1).unflatten(0, (calls, -1)), tuple(reversed(features)) if self.skips else ()

    def _pool(self, x: Tensor) -> Tensor:
        # A map that is a skip feature, too, has two gradients, which the compiler's own pooling adds in passing.
        return F.max_pool2d(x, 2) if self.skips else max_pool(x, 2)


class VGGDecoder(nn.Module):
    """Codes to one frame each; a stage doubles the image (the first only of large frames), joins [features, skip]."""

    def __init__(
        self, channels: int, size: int, filters: int, mixing: str, size_s: int, size_t: int, skips: bool = False
    ) -> None:
        """``channels`` is C; ``size`` is H and W."""
        super().__init__()
        self.mixing = mixing
        widths = stage_widths(size, filters)[::-1]
        self.first = Block(CodeConvTranspose2d(size_s if mixing == "concat" else 0, size_t, widths[0]))
        inner = [[width] * (2 if out == filters else 3) + [out] for width, out in pairwise(widths)]
        self.stages = nn.ModuleList(
            conv3_stage(width, skip=width[0] if skips else 0, doubles=i > 0 or _pools_last(size))
            for i, width in enumerate([*inner, [filters, filters]])
        )
        self.last = ExitConvTranspose2d(filters, channels)

    def forward(self, static: Tensor, dynamic: Tensor, skips: tuple[Tensor, ...] = ()) -> Tensor:
        """Static code (B, s), dynamic codes (K, B, t), skips (B, c, h, w) -> logits (K, B, C, H, W)."""
        calls = dynamic.shape[0]
        code = dynamic if self.mixing == "concat" else static * dynamic
        x = self.first(code.flatten(0, 1), calls, static)  # (K*B, c, 4, 4)
        *stages, (block,) = self.stages
        for i, stage in enumerate(stages):
            x = run_blocks(stage, x, calls, skips[i] if skips else None)
        return to_frames(block, self.last, x, calls, skips[-1] if skips else None).unflatten(0, (calls, -1))
