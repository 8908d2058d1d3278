"""How the Triton kernels may be cut up: a few candidates each, by the name under which one is chosen.

Each compiles for sm_80 and sm_90 on the presets' layers without a spill; which is fastest, a GPU tells.
"""

from __future__ import annotations

from typing import NamedTuple


class EntryCut(NamedTuple):
    """Pixels and columns of a tile."""

    block_m: int
    block_k: int
    warps: int


class ExitCut(NamedTuple):
    """Pixels of a tile (as many image rows as fit), and the most output channels for which registers suffice."""

    pixels: int
    warps: int
    features: int


class GradientCut(NamedTuple):
    """Pixels of a tile, loads in flight, and the most output channels for which registers suffice."""

    block_m: int
    stages: int
    warps: int
    features: int


ENTRY = {"64x32": EntryCut(64, 32, 4), "128x16": EntryCut(128, 16, 8), "128x32": EntryCut(128, 32, 8)}
ENTRY_WEIGHTS = {"32x64": EntryCut(32, 64, 4), "32x128": EntryCut(32, 128, 8), "64x64": EntryCut(64, 64, 8)}
EXIT = {"128": ExitCut(128, 4, 4), "256": ExitCut(256, 8, 4), "512": ExitCut(512, 16, 2)}
EXIT_GRADIENTS = {
    "32": GradientCut(32, 1, 4, 4),
    "64": GradientCut(64, 1, 8, 4),
    "64 narrow": GradientCut(64, 1, 4, 1),
    "64 ahead": GradientCut(64, 3, 8, 2),
    "128": GradientCut(128, 1, 8, 2),
}


def suits(cut: EntryCut | ExitCut | GradientCut, features: int, width: int) -> bool:
    """Whether a layer with ``features`` output channels and images ``width`` wide can run so."""
    if isinstance(cut, EntryCut):
        return features <= 128
    return features <= cut.features and (isinstance(cut, GradientCut) or cut.pixels >= 3 * width)
