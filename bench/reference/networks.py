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
    """(B, n, C, 64, 64) -> (B, code) and four feature maps."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        f, channels = config.enc_hidden_size, config.nt_cond * config.shape[0]
        down = [nn.Sequential(nn.Conv2d(channels, f, 4, 2, 1), nn.LeakyReLU(0.2))]
        down += [block(nn.Conv2d(f << k, f << k + 1, 4, 2, 1), f << k + 1) for k in range(3)]
        self.stages = nn.ModuleList(down)
        self.last = nn.Linear(8 * f * 16, code)

    def forward(self, window: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = window.flatten(1, 2), []
        for stage in self.stages:
            x = stage(x)
            features.insert(0, x)
        return self.last(x.flatten(1)), features


class VGGEncoder(nn.Module):
    """(B, n, C, 32 or 64, ...) -> (B, code) and four feature maps."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        f, channels = config.enc_hidden_size, config.nt_cond * config.shape[0]
        self.stages = nn.ModuleList([
            chain(channels, f, f),
            chain(f, 2 * f, 2 * f),
            chain(2 * f, 4 * f, 4 * f, 4 * f),
            chain(4 * f, 8 * f, 8 * f, 8 * f),
        ])  # fmt: skip
        self.last = nn.Sequential(nn.Conv2d(8 * f, code, 4), nn.BatchNorm2d(code))

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
    """(B, n, C, 64, 64) -> (B, code); the norm after the last convolution is registered but never used."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(config.nt_cond * config.shape[0], 64, 5, 2, 3), nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        self.stages = nn.Sequential(*(
            nn.Sequential(BasicBlock(a, b, 1 if a == b else 2), BasicBlock(b, b, 1))
            for a, b in pairwise(widths)
        ))  # fmt: skip
        self.conv_out, self.bn_out = nn.Conv2d(512, code, 3), nn.BatchNorm2d(code)

    def forward(self, window: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(window.flatten(1, 2)))), 3, 2, 1)
        return self.conv_out(self.stages(x)).flatten(1), []


class SSTEncoder(nn.Module):
    """(B, n, C, 64, 64) -> spatial code (B, code, 16, 16) and three feature maps."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        self.stages = nn.ModuleList([
            chain(config.nt_cond * config.shape[0], 64, 64), chain(64, 128, 128), chain(128, 256, 256, 256),
        ])  # fmt: skip
        self.last = nn.Sequential(conv3(256, 512), conv3(512, code), nn.Conv2d(code, code, 3, padding=1))

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
    """(B, code) -> (B, C, 64, 64)."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        f, wide = config.dec_hidden_size, 2 if config.skip else 1
        self.first = block(nn.ConvTranspose2d(code, 8 * f, 4), 8 * f)
        widths = (8 * f, 4 * f, 2 * f, f)
        up = [block(nn.ConvTranspose2d(wide * a, b, 4, 2, 1), b) for a, b in pairwise(widths)]
        self.stages = nn.ModuleList([*up, nn.ConvTranspose2d(wide * f, config.shape[0], 4, 2, 1)])

    def forward(self, code: Tensor, features: list[Tensor]) -> Tensor:
        x = self.first(code[:, :, None, None])
        for depth, stage in enumerate(self.stages):
            x = stage(torch.cat([x, features[depth]], 1) if features else x)
        return x


class VGGDecoder(nn.Module):
    """(B, code) -> (B, C, 32 or 64, ...)."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        f, wide = config.dec_hidden_size, 2 if config.skip else 1
        self.large = config.shape[-1] == 64
        self.first = block(nn.ConvTranspose2d(code, 8 * f, 4), 8 * f)
        self.stages = nn.ModuleList([
            chain(wide * 8 * f, 8 * f, 8 * f, 4 * f),
            chain(wide * 4 * f, 4 * f, 4 * f, 2 * f),
            chain(wide * 2 * f, 2 * f, f),
            nn.Sequential(conv3(wide * f, f), nn.ConvTranspose2d(f, config.shape[0], 3, 1, 1)),
        ])  # fmt: skip

    def forward(self, code: Tensor, features: list[Tensor]) -> Tensor:
        x = self.first(code[:, :, None, None])
        x = F.interpolate(x, scale_factor=2) if self.large else x
        for depth, stage in enumerate(self.stages):
            x = x if depth == 0 else F.interpolate(x, scale_factor=2)
            x = stage(torch.cat([x, features[depth]], 1) if features else x)
        return x


class SSTDecoder(nn.Module):
    """Spatial code (B, code, 16, 16) -> (B, C, 64, 64); the last layer is a full block."""

    def __init__(self, config: ModelConfig, code: int):
        super().__init__()
        frame, self.skip = config.shape[0], config.skip
        stages = [chain(code, 256, 256, 128)]
        if self.skip:
            stages += [chain(384, 128, 64, 64), chain(192, 128, 64, 64), chain(128, 64, 64, frame)]
        else:
            stages += [chain(128, 128, 128, 64), chain(64, 64, frame)]
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
