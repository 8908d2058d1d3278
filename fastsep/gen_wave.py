"""Command line: simulate WaveEq and write it to a file."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from fastsep import cli
from fastsep.data.wave_files import WaveSettings
from fastsep.data.wave_generate import Format, generate
from fastsep.errors import UserError


@dataclass(frozen=True)
class Arguments:
    """Simulate the wave equation with a decaying source (WaveEq) and write the sequences to --out."""

    out: Path
    """Folder to write to: wave.h5 in it, or data/homogenous_wave{i}.pt."""
    size: int = 300
    """Sequences."""
    frames: int = 300
    """Frames of a sequence, one a time step; the first is zero."""
    grid: int = 64
    """Cells along either axis, each 1 unit of length; the source lies in the middle."""
    dt: float = 1e-3
    """Time step in seconds."""
    seed: int = 42
    """Seed of the source strengths (1 to 30) and the wave speeds (300 to 400 cells/s)."""
    gpu: bool = False
    """Simulate on the GPU."""
    format: Format = "hdf5"
    """hdf5: one file wave.h5. pt: the layout that the authors' code reads."""


def main() -> None:
    """Parse, generate, say where the data lie."""
    arguments = tyro.cli(Arguments, prog="python -m fastsep.gen_wave", config=(tyro.conf.FlagCreatePairsOff,))
    if arguments.gpu and not torch.cuda.is_available():
        raise UserError("--gpu needs a GPU that PyTorch can use and there is none: leave --gpu out")
    if arguments.gpu and importlib.util.find_spec("numba_cuda") is None:
        raise UserError("--gpu needs numba-cuda: pip install 'fastsep[gpu]', or leave --gpu out")
    settings = WaveSettings(arguments.size, arguments.frames, arguments.grid, arguments.dt, arguments.seed)
    print(generate(arguments.out, settings, torch.device("cuda" if arguments.gpu else "cpu"), arguments.format))


if __name__ == "__main__":
    cli.run(main)
