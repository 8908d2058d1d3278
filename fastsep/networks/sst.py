"""Networks for sea surface temperature: fully convolutional, with spatial codes of H/4 x W/4.

H and W are any multiples of 4; 64x64 in the paper.

Letters: K network calls, B batch, n conditioning frames, C channels, f filters of the first stage (64 in the paper), s
and t channels of the codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.convolutions import conv3
from fastsep.networks.layers import Block, conv3_stage, run_blocks, to_frames


class SSTEncoder(nn.Module):
    """Frames to a spatial code at a quarter of the resolution."""

    def __init__(self, channels: int, filters: int, code_size: int, skips: bool = False) -> None:
        """``channels`` is n * C: the conditioning frames are stacked on the channel axis."""
        super().__init__()
        f = filters
        widths = [[channels, f, f], [f, 2 * f, 2 * f], [2 * f, 4 * f, 4 * f, 4 * f]]
        self.stages = nn.ModuleList(conv3_stage(width, reads_frames=i == 0) for i, width in enumerate(widths))
        self.last = conv3_stage([4 * f, 8 * f, code_size])
        self.code = conv3(code_size, code_size)
        self.skips = skips

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(K, B, n, C, H, W) -> code (K, B, code, H/4, W/4), features (K, B, c, h, w) of the stages, deepest first."""
        calls = frames.shape[0]
        x = frames.flatten(2, 3).flatten(0, 1)  # (K*B, n*C, H, W)
        features = []
        for i, stage in enumerate(self.stages):
            x = run_blocks(stage, F.max_pool2d(x, 2) if i else x, calls)
            features.append(x.unflatten(0, (calls, -1)))
        code = self.code(run_blocks(self.last, x, calls)).unflatten(0, (calls, -1))
        return code, tuple(reversed(features)) if self.skips else ()


class SSTDecoder(nn.Module):
    """Spatial codes to one frame each; with skips it joins [skip, features] before every stage but the first.

    The last layer is a block like the others, batch norm and LeakyReLU included.
    """

    def __init__(self, channels: int, filters: int, size_s: int, size_t: int, skips: bool = False) -> None:
        super().__init__()
        f = filters
        first = conv3_stage([size_t, 4 * f, 4 * f, 2 * f], skip=size_s, skip_first=True)
        if skips:
            rest = [
                conv3_stage([2 * f, 2 * f, f, f], skip=4 * f, skip_first=True),
                conv3_stage([f, 2 * f, f, f], skip=2 * f, skip_first=True, doubles=True),
                conv3_stage([f, f, f, channels], skip=f, skip_first=True, doubles=True, makes_frames=True),
            ]
        else:
            rest = [
                conv3_stage([2 * f, 2 * f, 2 * f, f], doubles=True),
                conv3_stage([f, f, channels], doubles=True, makes_frames=True),
            ]
        self.stages = nn.ModuleList([first, *rest])

    def forward(self, static: Tensor, dynamic: Tensor, skips: tuple[Tensor, ...] = ()) -> Tensor:
        """Static code (B, s, h, w), dynamic codes (K, B, t, h, w), skips (B, c, ...) -> logits (K, B, C, 4h, 4w)."""
        calls = dynamic.shape[0]
        x = run_blocks(self.stages[0], dynamic.flatten(0, 1), calls, static)  # (K*B, 2f, h, w)
        *stages, (*first, block, last) = self.stages[1:]
        for i, stage in enumerate(stages):
            x = run_blocks(stage, x, calls, skips[i] if skips else None)
        if first:
            x = run_blocks(first, x, calls, skips[-1] if skips else None)
        training = last.norm.training
        x = to_frames(block, last.conv, x, calls, bias=not training)
        x = last.norm(x, calls, last.slope, last.conv.bias if training else None)
        return x.unflatten(0, (calls, -1))


class SSTIntegrator(nn.Module):
    """T <- T + f_k(T) for each residual block k; f_k is three 3x3 convolutions with batch norm, two with LeakyReLU.

    Its batch norms see one frame at a time, so the rollout is sequential in training too.
    """

    def __init__(self, code_size: int, hidden: int, n_blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    Block(conv3(code_size, hidden)),
                    Block(conv3(hidden, hidden)),
                    Block(conv3(hidden, code_size), activation=False),
                ]
            )
            for _ in range(n_blocks)
        )

    def forward(self, t0: Tensor, frames: int) -> Tensor:
        """Roll T_0 (B, L, h, w) out to the codes of ``frames`` frames, T_0 included: (frames, B, L, h, w)."""
        trajectory = [t0]
        for _ in range(frames - 1):
            t = trajectory[-1]
            for block in self.blocks:
                t = t + run_blocks(block, t, calls=1)
            trajectory.append(t)
        return torch.stack(trajectory)
