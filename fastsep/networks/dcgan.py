"""DCGAN encoder and decoder of square frames: 4x4 convolutions that halve or double the image, down to and up from 4x4.

The published networks are those for 64x64 pixels; other sizes have a stage more or less for each power of two.

Letters: K network calls, B batch, n conditioning frames, C channels, f filters of the first stage, s and t code sizes.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from fastsep.networks.convolutions import (
    CodeConvTranspose2d,
    Conv2d,
    ConvTranspose2d,
    EntryConv2d,
    ExitConvTranspose2d,
    JoinConvTranspose2d,
)
from fastsep.networks.halves import Linear
from fastsep.networks.layers import Block, to_frames


def stage_widths(size: int, filters: int) -> list[int]:
    """Channels of each stage for frames of ``size`` x ``size``, largest image first: f, 2f, 4f, and 8f from there."""
    return [filters * min(2**stage, 8) for stage in range(size.bit_length() - 3)]


class DCGANEncoder(nn.Module):
    """Frames to a code; each stage halves the image."""

    def __init__(self, channels: int, size: int, filters: int, code_size: int, skips: bool = False) -> None:
        """``channels`` is n * C: the conditioning frames are stacked on the channel axis; ``size`` is H and W."""
        super().__init__()
        widths = stage_widths(size, filters)
        self.stages = nn.ModuleList(
            [
                Block(EntryConv2d(channels, filters, 4, stride=2, padding=1), norm=False),
                *(Block(Conv2d(width, out, 4, stride=2, padding=1)) for width, out in pairwise(widths)),
            ]
        )
        self.last = Linear(widths[-1] * 4 * 4, code_size)
        self.skips = skips

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(K, B, n, C, H, W) -> code (K, B, code), features of the stages (K, B, c, h, w), deepest first."""
        calls = frames.shape[0]
        x = frames.flatten(2, 3).flatten(0, 1)  # (K*B, n*C, H, W)
        features = []
        for stage in self.stages:
            x = stage(x, calls)
            features.append(x.unflatten(0, (calls, -1)))
        code = self.last(x.flatten(1)).unflatten(0, (calls, -1))
        return code, tuple(reversed(features)) if self.skips else ()


class DCGANDecoder(nn.Module):
    """Codes to one frame each; each stage doubles the image and, with skips, joins [features, skip] before it."""

    def __init__(
        self, channels: int, size: int, filters: int, mixing: str, size_s: int, size_t: int, skips: bool = False
    ) -> None:
        """``channels`` is C; ``size`` is H and W."""
        super().__init__()
        f, widths = filters, stage_widths(size, filters)[::-1]
        self.mixing = mixing
        self.first = Block(CodeConvTranspose2d(size_s if mixing == "concat" else 0, size_t, widths[0]))
        last = JoinConvTranspose2d(f, f, channels) if skips else ExitConvTranspose2d(f, channels, stride=2)
        self.stages = nn.ModuleList(
            [
                *(Block(_double(width, out, skips)) for width, out in pairwise(widths)),
                Block(last, norm=False, activation=False),
            ]
        )

    def forward(self, static: Tensor, dynamic: Tensor, skips: tuple[Tensor, ...] = ()) -> Tensor:
        """Static code (B, s), dynamic codes (K, B, t), skips (B, c, h, w) -> logits (K, B, C, H, W)."""
        calls = dynamic.shape[0]
        code = dynamic if self.mixing == "concat" else static * dynamic
        x = self.first(code.flatten(0, 1), calls, static)  # (K*B, c, 4, 4)
        *stages, block, last = self.stages
        if skips:
            for stage, skip in zip(self.stages, skips, strict=True):
                x = stage(x, calls, skip)
        else:
            for stage in stages:
                x = stage(x, calls)
            x = to_frames(block, last.conv, x, calls)
        return x.unflatten(0, (calls, -1))


def _double(size: int, out: int, skips: bool) -> nn.Module:
    """A 4x4 transposed convolution that doubles the image; with skips, as many skip channels as features join."""
    return JoinConvTranspose2d(size, size, out) if skips else ConvTranspose2d(size, out, 4, stride=2, padding=1)
