"""The networks of the naive reference: plain modules that take one call at a time.

Parameters are registered in the order of ``tests/golden/model.json``. Letters: B batch, n conditioning frames, C
channels, L size of the dynamic code, ``*shape`` one frame. Encoders return the code and their feature maps, deepest
first; decoders take the mixed code and such maps, or none.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastsep.config import ModelConfig

WIDTHS_DCGAN = {16: (1, 2), 32: (1, 2, 4), 64: (1, 2, 4, 8), 128: (1, 2, 4, 8, 8), 256: (1, 2, 4, 8, 8, 8)}
"""By height of the frames: channels behind each halving, in filters of the first stage. The paper has 64."""
STAGES_VGG = {16: 3, 32: 4, 64: 4, 128: 5, 256: 6}
"""By height of the frames: stages between poolings. The paper has 32 and 64."""


def block(conv: nn.Module, channels: int) -> nn.Sequential:
    """Convolution, batch norm, LeakyReLU(0.2)."""
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.LeakyReLU(0.2))


def conv3(inputs: int, outputs: int) -> nn.Sequential:
    """Block with a 3x3 convolution that keeps the size."""
    return block(nn.Conv2d(inputs, outputs, 3, padding=1), outputs)


def chain(*channels: int) -> nn.Sequential:
    """3x3 blocks through ``channels``."""
    return nn.Sequential(*(conv3(a, b) for a, b in pairwise(channels)))


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers through ``sizes`` with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class MLPEncoder(nn.Module):
    """(B, n, *shape) -> (B, code)."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        pixels = config.nt_cond * torch.Size(config.shape).numel()
        self.mlp = mlp(pixels, *[config.enc_hidden_size] * (config.enc_n_layers - 1), code)

    def forward(self, window: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.mlp(window.flatten(1)), []


class DCGANEncoder(nn.Module):
    """(B, n, C, H, H) -> (B, code) and a feature map a halving; H is 64 in the paper, else a power of two."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        widths = WIDTHS_DCGAN[config.shape[-1]]
        channels = [config.nt_cond * config.shape[0], *(width * config.enc_hidden_size for width in widths)]
        down = [nn.Sequential(nn.Conv2d(*channels[:2], 4, 2, 1), nn.LeakyReLU(0.2))]
        down += [block(nn.Conv2d(a, b, 4, 2, 1), b) for a, b in pairwise(channels[1:])]
        self.stages = nn.ModuleList(down)
        self.last = nn.Linear(channels[-1] * 16, code)

    def forward(self, window: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = window.flatten(1, 2), []
        for stage in self.stages:
            x = stage(x)
            features.insert(0, x)
        return self.last(x.flatten(1)), features


class VGGEncoder(nn.Module):
    """(B, n, C, H, H) -> (B, code) and a feature map a stage; H is 32 or 64 in the paper, else a power of two."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        f, channels = config.enc_hidden_size, config.nt_cond * config.shape[0]
        stages = [
            chain(channels, f, f),
            chain(f, 2 * f, 2 * f),
            chain(2 * f, 4 * f, 4 * f, 4 * f),
            chain(4 * f, 8 * f, 8 * f, 8 * f),
            chain(8 * f, 8 * f, 8 * f, 8 * f),
            chain(8 * f, 8 * f, 8 * f, 8 * f),
        ]
        count = STAGES_VGG[config.shape[-1]]
        self.stages = nn.ModuleList(stages[:count])
        deepest = 4 * f if count == 3 else 8 * f
        self.last = nn.Sequential(nn.Conv2d(deepest, code, 4), nn.BatchNorm2d(code))

    def forward(self, window: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = window.flatten(1, 2), []
        for depth, stage in enumerate(self.stages):
            x = stage(x if depth == 0 else F.max_pool2d(x, 2))
            features.insert(0, x)
        x = F.max_pool2d(x, 2) if x.shape[-1] == 8 else x
        return self.last(x).flatten(1), features


class BasicBlock(nn.Module):
    """The two-convolution residual block of ResNet-18, with biases."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNetEncoder(nn.Module):
    """(B, n, C, H, W) -> (B, code); the norm after the last convolution is registered but never used.

    The last convolution is as large as the trunk's map, which is 3x3 for the paper's 64x64 pixels.
    """

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(config.nt_cond * config.shape[0], 64, 5, 2, 3), nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        self.stages = nn.Sequential(*(
            nn.Sequential(BasicBlock(a, b, 1 if a == b else 2), BasicBlock(b, b, 1))
            for a, b in pairwise(widths)
        ))  # fmt: skip
        with torch.no_grad():
            last = self._trunk(torch.zeros(2, *config.shape).repeat(1, config.nt_cond, 1, 1)).shape[2:]
        for norm in self.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()
        self.conv_out, self.bn_out = nn.Conv2d(512, code, tuple(last)), nn.BatchNorm2d(code)

    def forward(self, window: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.conv_out(self._trunk(window.flatten(1, 2))).flatten(1), []

    def _trunk(self, x: Tensor) -> Tensor:
        return self.stages(F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1))


class SSTEncoder(nn.Module):
    """(B, n, C, H, W) -> spatial code (B, code, H/4, W/4) and three feature maps."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        f = config.sst_filters
        self.stages = nn.ModuleList([
            chain(config.nt_cond * config.shape[0], f, f), chain(f, 2 * f, 2 * f), chain(2 * f, 4 * f, 4 * f, 4 * f),
        ])  # fmt: skip
        self.last = nn.Sequential(conv3(4 * f, 8 * f), conv3(8 * f, code), nn.Conv2d(code, code, 3, padding=1))

    def forward(self, window: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = window.flatten(1, 2), []
        for depth, stage in enumerate(self.stages):
            x = stage(x if depth == 0 else F.max_pool2d(x, 2))
            features.insert(0, x)
        return self.last(x), features


class MLPDecoder(nn.Module):
    """(B, code) -> (B, *shape)."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        self.shape = config.shape
        hidden = [config.dec_hidden_size] * (config.dec_n_layers - 1)
        self.mlp = mlp(code, *hidden, torch.Size(config.shape).numel())

    def forward(self, code: Tensor, features: list[Tensor]) -> Tensor:
        return self.mlp(code).unflatten(1, self.shape)


class DCGANDecoder(nn.Module):
    """(B, code) -> (B, C, H, H)."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        f, wide = config.dec_hidden_size, 2 if config.skip else 1
        widths = [width * f for width in reversed(WIDTHS_DCGAN[config.shape[-1]])]
        self.first = block(nn.ConvTranspose2d(code, widths[0], 4), widths[0])
        up = [block(nn.ConvTranspose2d(wide * a, b, 4, 2, 1), b) for a, b in pairwise(widths)]
        self.stages = nn.ModuleList([*up, nn.ConvTranspose2d(wide * f, config.shape[0], 4, 2, 1)])

    def forward(self, code: Tensor, features: list[Tensor]) -> Tensor:
        x = self.first(code[:, :, None, None])
        for depth, stage in enumerate(self.stages):
            x = stage(torch.cat([x, features[depth]], 1) if features else x)
        return x


class VGGDecoder(nn.Module):
    """(B, code) -> (B, C, H, H)."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        f, wide = config.dec_hidden_size, 2 if config.skip else 1
        self.large = config.shape[-1] >= 64
        stages = [
            chain(wide * 8 * f, 8 * f, 8 * f, 8 * f),
            chain(wide * 8 * f, 8 * f, 8 * f, 8 * f),
            chain(wide * 8 * f, 8 * f, 8 * f, 4 * f),
            chain(wide * 4 * f, 4 * f, 4 * f, 2 * f),
            chain(wide * 2 * f, 2 * f, f),
            nn.Sequential(conv3(wide * f, f), nn.ConvTranspose2d(f, config.shape[0], 3, 1, 1)),
        ]
        count = STAGES_VGG[config.shape[-1]]
        deepest = 4 * f if count == 3 else 8 * f
        self.first = block(nn.ConvTranspose2d(code, deepest, 4), deepest)
        self.stages = nn.ModuleList(stages[-count:])

    def forward(self, code: Tensor, features: list[Tensor]) -> Tensor:
        x = self.first(code[:, :, None, None])
        x = F.interpolate(x, scale_factor=2) if self.large else x
        for depth, stage in enumerate(self.stages):
            x = x if depth == 0 else F.interpolate(x, scale_factor=2)
            x = stage(torch.cat([x, features[depth]], 1) if features else x)
        return x


class SSTDecoder(nn.Module):
    """Spatial code (B, code, H/4, W/4) -> (B, C, H, W); the last layer is a full block."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        frame, f, self.skip = config.shape[0], config.sst_filters, config.skip
        stages = [chain(code, 4 * f, 4 * f, 2 * f)]
        if self.skip:
            stages += [chain(6 * f, 2 * f, f, f), chain(3 * f, 2 * f, f, f), chain(2 * f, f, f, frame)]
        else:
            stages += [chain(2 * f, 2 * f, 2 * f, f), chain(f, f, frame)]
        self.stages = nn.ModuleList(stages)

    def forward(self, code: Tensor, features: list[Tensor]) -> Tensor:
        x = self.stages[0](code)
        for depth, stage in enumerate(self.stages[1:]):
            x = x if self.skip and depth == 0 else F.interpolate(x, scale_factor=2)
            x = stage(torch.cat([features[depth], x], 1) if self.skip else x)
        return x


class ResidualMLP(nn.Module):
    """One frame: ``T <- T + f_k(T)`` for each block k; (B, L) -> (B, L)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        size, hidden = config.code_size_t, config.res_hidden_size
        self.blocks = nn.ModuleList(mlp(size, hidden, hidden, size) for _ in range(config.n_blocks))

    def forward(self, t: Tensor) -> Tensor:
        for residual in self.blocks:
            t = t + residual(t)
        return t


class ResidualConv(nn.Module):
    """The same on a spatial code (B, L, h, w), with three 3x3 convolutions and batch norms a block."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        size, hidden = config.code_size_t, config.res_hidden_size
        self.blocks = nn.ModuleList(
            nn.Sequential(
                conv3(size, hidden), conv3(hidden, hidden), nn.Conv2d(hidden, size, 3, padding=1), nn.BatchNorm2d(size)
            )
            for _ in range(config.n_blocks)
        )  # fmt: skip

    def forward(self, t: Tensor) -> Tensor:
        for residual in self.blocks:
            t = t + residual(t)
        return t


ENCODERS = {"mlp": MLPEncoder, "dcgan": DCGANEncoder, "vgg": VGGEncoder, "resnet": ResNetEncoder, "sst": SSTEncoder}
DECODERS = {"mlp": MLPDecoder, "dcgan": DCGANDecoder, "vgg": VGGDecoder, "sst": SSTDecoder}
