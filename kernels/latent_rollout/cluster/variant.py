"""One compile-time shape of the kernel, and what it needs; as cuda/shape.h has it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

PROGRAMS = 8
"""Of a cluster: the most that every GPU with clusters promises."""
THREADS = 256
WIDTHS = (256, 512)
MAX_LATENT, MAX_BLOCKS = 64, 4
ROWS = (8, 16)
"""Of the state, that a cluster may share."""


@dataclass(frozen=True)
class Variant:
    """``rows`` are those a cluster shares; ``save`` leaves the hidden layers for the weight gradients; ``profile``
    notes clocks, see phases.py."""

    latent: int
    width: int
    blocks: int
    rows: int
    adjoint: bool
    save: bool
    dtype: torch.dtype
    profile: bool = False

    @property
    def tiles(self) -> int:
        """Of 8 rows."""
        return self.rows // 8

    @property
    def padded(self) -> int:
        """Latent size as the tensor cores see it."""
        return 16 if self.latent <= 16 else 32 if self.latent <= 32 else 64

    @property
    def drops(self) -> int:
        """Warps of a program that multiply by the drop."""
        return self.padded // 16 * self.tiles

    @property
    def held(self) -> int:
        """Blocks whose mix stays in registers: 64 a thread at width 512, so two; all of a narrower layer's."""
        return min(self.blocks, 2 if self.width == 512 else 4)

    @property
    def macros(self) -> dict[str, int]:
        """What cuda/shape.h is given."""
        return {
            "LATENT": self.latent,
            "HIDDEN": self.width,
            "BLOCKS": self.blocks,
            "TILES": self.tiles,
            "HELD": self.held,
            "ADJOINT": int(self.adjoint),
            "SAVE": int(self.save),
            "HALF": int(self.dtype == torch.float16),
            "PROFILE": int(self.profile),
        }

    @property
    def shared(self) -> int:
        """Bytes of shared memory a program: SHARED_BYTES of cuda/shape.h."""
        slice_ = self.width // PROGRAMS
        tiles = slice_ // 16  # of the mix, either way
        weights = self.blocks * (self.width * self.padded * 2 + self.padded // 16 * tiles * 512)
        weights += (self.blocks - self.held) * 8 * tiles * tiles * 512
        sums = (8 * tiles * 512 + tiles * 256) * self.tiles  # between warps, and their result
        exchanged = self.rows * self.padded * 2 + PROGRAMS * self.padded * self.tiles * 4
        biases = 0 if self.adjoint else self.blocks * (self.width + slice_) * 4
        return weights + sums + exchanged + biases + 16


def supported(latent: int, width: int, blocks: int, dtype: torch.dtype, shared: int) -> bool:
    """Whether a GPU with ``shared`` bytes of shared memory a program can run such a rollout, both ways and with either
    number of rows."""
    return (
        dtype in (torch.float16, torch.bfloat16)
        and width in WIDTHS
        and 1 <= latent <= MAX_LATENT
        and 1 <= blocks <= MAX_BLOCKS
        and all(Variant(latent, width, blocks, 16, adjoint, True, dtype).shared <= shared for adjoint in (False, True))
    )
