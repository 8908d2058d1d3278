"""VGG encoder and decoder for 32x32 and 64x64 frames: 3x3 blocks between poolings and doublings.

Letters: K network calls, B batch, n conditioning frames, C channels, f filters of the first stage, s and t code sizes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.convolutions import CodeConvTranspose2d, Conv2d, ExitConvTranspose2d
from fastsep.networks.layers import Block, conv3_stage, run_blocks, to_frames


class VGGEncoder(nn.Module):
    """Frames to a code; a 2x2 max-pool in front of every stage but the first."""

    def __init__(self, channels: int, size: int, filters: int, code_size: int, skips: bool = False) -> None:
        """``channels`` is n * C: the conditioning frames are stacked on the channel axis; ``size`` is 32 or 64."""
        super().__init__()
        f = filters
        widths = [[channels, f, f], [f, 2 * f, 2 * f], [2 * f, 4 * f, 4 * f, 4 * f], [4 * f, 8 * f, 8 * f, 8 * f]]
        self.stages = nn.ModuleList(conv3_stage(width, reads_frames=i == 0) for i, width in enumerate(widths))
        self.last = Block(Conv2d(8 * f, code_size, 4), activation=False)
        self.pool_last = size == 64
        self.skips = skips

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(K, B, n, C, H, W) -> code (K, B, code), features of the stages (K, B, c, h, w), deepest first."""
        calls = frames.shape[0]
        x = frames.flatten(2, 3).flatten(0, 1)  # (K*B, n*C, H, W)
        features = []
        for i, stage in enumerate(self.stages):
            x = run_blocks(stage, F.max_pool2d(x, 2) if i else x, calls)
            features.append(x.unflatten(0, (calls, -1)))
        code = self.last(F.max_pool2d(x, 2) if self.pool_last else x, calls)  # (K*B, code, 1, 1)
        return code.flatten(1).unflatten(0, (calls, -1)), tuple(reversed(features)) if self.skips else ()


class VGGDecoder(nn.Module):
    """Codes to one frame each; a stage doubles the image (the first of 64x64 frames only), joins [features, skip]."""

    def __init__(
        self, channels: int, size: int, filters: int, mixing: str, size_s: int, size_t: int, skips: bool = False
    ) -> None:
        """``channels`` is C; ``size`` is 32 or 64."""
        super().__init__()
        f = filters
        self.mixing = mixing
        self.first = Block(CodeConvTranspose2d(size_s if mixing == "concat" else 0, size_t, 8 * f))
        widths = [[8 * f, 8 * f, 8 * f, 4 * f], [4 * f, 4 * f, 4 * f, 2 * f], [2 * f, 2 * f, f], [f, f]]
        self.stages = nn.ModuleList(
            conv3_stage(width, skip=width[0] if skips else 0, doubles=i > 0 or size == 64)
            for i, width in enumerate(widths)
        )
        self.last = ExitConvTranspose2d(f, channels)

    def forward(self, static: Tensor, dynamic: Tensor, skips: tuple[Tensor, ...] = ()) -> Tensor:
        """Static code (B, s), dynamic codes (K, B, t), skips (B, c, h, w) -> logits (K, B, C, H, W)."""
        calls = dynamic.shape[0]
        code = dynamic if self.mixing == "concat" else static * dynamic
        x = self.first(code.flatten(0, 1), calls, static)  # (K*B, 8f, 4, 4)
        *stages, (block,) = self.stages
        for i, stage in enumerate(stages):
            x = run_blocks(stage, x, calls, skips[i] if skips else None)
        return to_frames(block, self.last, x, calls, skips[-1] if skips else None).unflatten(0, (calls, -1))
