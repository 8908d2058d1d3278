"""Command line: simulate WaveEq and write it to a file."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastsep import cli, entry
from fastsep.errors import UserError
from fastsep.settings import Count, NumPySeed, Range, Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Simulate the wave equation with a decaying source (WaveEq) and write the sequences to --out."""

    out: Path
    """Folder to write to: wave.h5 in it, or data/homogenous_wave{i}.pt."""
    size: Annotated[int, Range(1, 1_000_000_000)] = 300
    """Sequences."""
    frames: Annotated[int, Range(1, 1_000_000)] = 300
    """Frames of a sequence, one a time step; the first is zero."""
    grid: Annotated[int, Range(5, 65_536)] = 64
    """Cells along either axis, each 1 unit of length; the source lies in the middle."""
    dt: Annotated[float, Range(0, 0.002165, above=True)] = 1e-3
    """Time step in seconds; above 0.002165 the scheme is not stable."""
    seed: NumPySeed = 42
    """Seed of the source strengths (1 to 30) and the wave speeds (300 to 400 cells/s)."""
    gpu: bool = False
    """Simulate on the GPU."""
    format: Literal["hdf5", "pt"] = "hdf5"
    """hdf5: one file wave.h5. pt: the layout that the authors' code reads."""
    timeout: Count = 600
    """Seconds that one of several processes waits for the others before it gives up."""


def main() -> None:
    """Parse, generate, say where the data lie."""
    arguments = cli.parse(Arguments, "gen_wave", examples=["--out data/wave", "--out data/authors --format pt"])

    # Imported only now: --help should not wait for PyTorch.
    import torch

    from fastsep import distributed
    from fastsep.data.wave.files import WaveSettings
    from fastsep.data.wave.generate import generate

    if arguments.gpu and not torch.cuda.is_available():
        raise UserError("--gpu needs a GPU that PyTorch can use and there is none: leave --gpu out")
    if arguments.gpu and importlib.util.find_spec("numba_cuda") is None:
        raise UserError("--gpu needs numba-cuda: pip install -e '.[gpu]' in fastsep's checkout, or leave --gpu out")
    settings = WaveSettings(arguments.size, arguments.frames, arguments.grid, arguments.dt, arguments.seed)
    with distributed.joined(arguments.timeout) as world:
        path = generate(arguments.out, settings, torch.device("cuda" if arguments.gpu else "cpu"), arguments.format)
        if world.is_first:
            print(path)


if __name__ == "__main__":
    entry.run(main, several=True)
