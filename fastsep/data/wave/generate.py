"""Generation of WaveEq files, by one process or by several (see ``fastsep/distributed.py``)."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import torch

from fastsep import distributed
from fastsep.data.disk_space import require_space
from fastsep.data.wave.files import C_RANGE, HDF5_NAME, PT_FOLDER, WaveSettings, draw
from fastsep.data.wave.pipeline import stream
from fastsep.data.wave.shares import stream_shares
from fastsep.data.wave.writers import write_hdf5, write_pt
from fastsep.errors import UserError
from fastsep.files import make_directory, write_problem
from fastsep.progress import progress_bar
from kernels.wave import stability_limit
from kernels.wave.scheme import MIN_GRID

Format = Literal["hdf5", "pt"]


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

    Needs less than 1 GB of memory whatever the size, or two sequences where these are larger.

    Raises:
        UserError: settings out of range, sequences larger than the memory, a folder that cannot be written or a disk
            that is full. Whenever this ends early, by an interrupt too, what lay in ``folder`` before is left as it
            was.
    """
    check(settings)
    distributed.current().same(
        (settings, format, device.type),
        lambda rank, first, other: (
            f"rank {rank} was started with other settings or on another device than rank 0 ({other}, {first} there): "
            "start all with one command"
        ),
    )
    path = folder / (HDF5_NAME if format == "hdf5" else PT_FOLDER)
    try:
        place = Path(os.path.realpath(path))
        place = place.parent if format == "hdf5" else place
        require_space(place, settings.size * (settings.sequence_bytes + 4096))
        f0, c = draw(settings.size, settings.seed)
        world, write = distributed.current(), write_hdf5 if format == "hdf5" else write_pt
        if world.is_first:
            make_directory(folder)
        with (
            write(folder, settings, f0, c) if world.is_first else nullcontext() as writer,
            progress_bar(total=settings.size, unit="sequence", disable=not world.is_first) as bar,
        ):
            work = settings, torch.from_numpy(f0), torch.from_numpy(c), device, bar
            stream(writer, *work) if world.size == 1 else stream_shares(writer, *work, world)
    except OSError as error:
        raise write_problem(path, error, "choose another --out") from None
    return path
