"""How the Triton kernels may be cut up: a few candidates each, by the name under which one is chosen.

Each compiles for sm_80 and sm_90 on the presets' layers without a spill; which is fastest, a GPU tells.
"""

from __future__ import annotations

from typing import NamedTuple


class EntryCut(NamedTuple):
    """Pixels and columns of a tile, loads in flight."""

    block_m: int
    block_k: int
    stages: int
    warps: int


class ExitCut(NamedTuple):
    """Pixels of a tile of the terms, loads in flight; the most output channels."""

    block_m: int
    stages: int
    warps: int
    features: int = 4


class GradientCut(NamedTuple):
    """Pixels of a tile, loads in flight; the most output channels for which registers suffice, and on older GPUs."""

    block_m: int
    stages: int
    warps: int
    features: int = 4
    features_before_90: int = 4


ENTRY = {"64x32": EntryCut(64, 32, 3, 4), "128x32": EntryCut(128, 32, 3, 4), "128x64": EntryCut(128, 64, 2, 8)}
ENTRY_WEIGHTS = {
    "64x64": EntryCut(64, 64, 3, 4),
    "64x128": EntryCut(64, 128, 3, 8),
    "128x128": EntryCut(128, 128, 2, 8),
}
EXIT = {"product 64": ExitCut(64, 4, 4), "product 128": ExitCut(128, 3, 4), "product 256": ExitCut(256, 2, 8)}
EXIT_GRADIENTS = {"32": GradientCut(32, 3, 4), "64": GradientCut(64, 3, 8), "128": GradientCut(128, 3, 8)}
NORM_EXIT_GRADIENTS = {
    "16": GradientCut(16, 4, 4, features_before_90=2),
    "16 alone": GradientCut(16, 1, 4),
    "32": GradientCut(32, 3, 4, features_before_90=2),
    "64": GradientCut(64, 3, 8, features_before_90=2),
}


def suits(cut: EntryCut | ExitCut | GradientCut, features: int, architecture: int, channels: int = 1) -> bool:
    """Whether a layer with ``features`` output channels, and as many ``channels`` of frames for an entry, can run so.

    ``architecture``: 80, 90, ...: ten times the GPU's compute capability.
    """
    if isinstance(cut, EntryCut):
        return features <= 128 and channels <= 64  # all channels of a pixel are held at once
    if isinstance(cut, ExitCut):
        return features <= cut.features
    return features <= (cut.features if architecture >= 90 else cut.features_before_90)


def padded_shape(n: int, c: int, h: int, w: int, padding: int) -> tuple[int, int, int, int]:
    """(N, HP, WP, CP): frames as the kernels of an entry read them, channels last, with the border."""
    return n, h + 2 * padding, w + 2 * padding, max(8, 1 << (c - 1).bit_length())
