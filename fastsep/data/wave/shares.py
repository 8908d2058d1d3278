"""Sequences simulated by several processes, in pieces that they take in turn; the first process writes them all."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from fastsep.data.residency import require_memory
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.pipeline import SMALLER
from fastsep.data.wave.writers import Writer
from fastsep.world import World
from kernels.wave import simulate

_PIECE = 32 << 20  # bytes: while the first process writes its own, the others are at their next


def stream_shares(
    writer: Writer | None, settings: WaveSettings, f0: Tensor, c: Tensor, device: torch.device, bar: tqdm, world: World
) -> None:
    """Simulate this process's share of the sequences; the first one, which has the ``writer``, writes all shares.

    Args:
        f0, c: source strengths and wave speeds, (S,) float64 on the host.

    Raises:
        OSError: one cannot be written.
    """
    s = settings
    count = max(1, min(-(-s.size // world.size), _PIECE // s.sequence_bytes))
    # Those that were simulated last, and those that are next.
    require_memory(2 * count * s.sequence_bytes, f"{2 * count} sequences of {s.frames:,} frames", SMALLER)
    buffer = torch.empty(count, s.frames, s.grid, s.grid)
    for turn, first in enumerate(range(0, s.size, count)):
        part, owner = slice(first, first + count), turn % world.size
        piece = buffer[: len(c[part])]
        if owner == world.rank:
            piece.copy_(simulate(c[part], f0[part], frames=s.frames, grid=s.grid, dt=s.dt, device=device))
        world.collect(piece, owner)
        if writer is not None:
            writer.write_at(first, piece.numpy())
            bar.update(len(piece))
