"""Generation of WaveEq files: simulate a piece while the piece before it is being written."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import torch

from fastsep.data.wave_files import C_RANGE, Hdf5Writer, PtWriter, WaveSettings, draw
from fastsep.errors import UserError
from fastsep.progress import progress_bar
from kernels.wave import simulate, stability_limit
from kernels.wave.scheme import MIN_GRID

Format = Literal["hdf5", "pt"]
_CHUNK_BYTES = 128 << 20


def check(settings: WaveSettings) -> None:
    """Raise ``UserError`` for settings that cannot be simulated."""
    for name in ("size", "frames"):
        if getattr(settings, name) < 1:
            raise UserError(f"{name} is {getattr(settings, name)}: set --{name} to at least 1")
    if settings.grid < MIN_GRID:
        raise UserError(
            f"a grid of {settings.grid} cells is too small for the stencil: set --grid to at least {MIN_GRID}"
        )
    if not 0 <= settings.seed < 2**32:
        raise UserError(f"seed is {settings.seed}: set --seed to a number from 0 to 2^32 - 1")
    limit = stability_limit(C_RANGE[1])
    if not 0 < settings.dt <= limit:
        raise UserError(
            f"a time step of {settings.dt:g} s is outside the stable range: set --dt above 0 and at most {limit:.6f} s"
        )


def generate(folder: Path, settings: WaveSettings, device: torch.device, format: Format = "hdf5") -> Path:
    """Simulate the sequences and write them to ``folder``; returns the file (hdf5) or the folder of files (pt).

    Needs less than 1 GB of memory whatever the size.

    Raises:
        UserError: settings out of range, a folder that cannot be written or a disk that is full. Whenever this ends
            early, by an interrupt too, what lay in ``folder`` before is left as it was.
    """
    check(settings)
    try:
        _check_space(folder, settings)
        f0, c = (torch.from_numpy(x) for x in draw(settings.size, settings.seed))
        folder.mkdir(parents=True, exist_ok=True)
        writer = (Hdf5Writer if format == "hdf5" else PtWriter)(folder, settings, f0.numpy(), c.numpy())
        with writer:
            _stream(writer, settings, f0, c, device)
        return writer.path
    except (OSError, RuntimeError) as error:  # torch.save and HDF5 raise the latter for a full disk
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise UserError(f"cannot write to {folder} ({reason}): free space there or choose another --out") from None


def _stream(
    writer: Hdf5Writer | PtWriter, settings: WaveSettings, f0: torch.Tensor, c: torch.Tensor, device: torch.device
) -> None:
    count = min(settings.size, max(1, _CHUNK_BYTES // settings.sequence_bytes))
    shape = (count, settings.frames, settings.grid, settings.grid)
    buffers = [torch.empty(shape, pin_memory=device.type == "cuda") for _ in range(2)]
    pending = None
    with ThreadPoolExecutor(1) as pool, progress_bar(total=settings.size, unit="sequence") as bar:
        for step, first in enumerate(range(0, settings.size, count)):
            part = slice(first, first + count)
            chunk = buffers[step % 2][: len(c[part])]
            options = {"frames": settings.frames, "grid": settings.grid, "dt": settings.dt}
            if device.type == "cuda":
                chunk.copy_(simulate(c[part], f0[part], **options, device=device))
            else:
                simulate(c[part], f0[part], **options, out=chunk)
            if pending:
                pending.result()
            pending = pool.submit(writer.write, first, chunk.numpy())
            bar.update(len(chunk))
        pending.result()


def _check_space(folder: Path, settings: WaveSettings) -> None:
    needed = settings.size * (settings.sequence_bytes + 4096)
    folder = folder.absolute()
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if needed > free:
        raise UserError(
            f"{folder} has {free / 1e9:.2f} GB free, {needed / 1e9:.2f} GB needed: free some or choose another --out"
        )
