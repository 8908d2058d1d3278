"""Make a data set to try your own frames on: ``python -m fastsep.gen_example plume --out plume.nc``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastsep import cli, entry
from fastsep.settings import NumPySeed, Range, Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Simulate an example and write it to a file that is HDF5 and NetCDF-4 at once.

    plume: smoke that a swaying wind carries past obstacles, 96x64 cells; obstacles hold no values. layers: surface and
    interface of two layers of fluid in a rotating tank, two channels of 48x48 cells.
    """

    name: cli.Positional[Literal["plume", "layers"]]
    """Which."""
    out: Path
    """File to write, such as plume.nc or layers.h5."""
    size: Annotated[int, Range(1, 1_000_000)] = 120
    """Sequences."""
    frames: Annotated[int, Range(2, 100_000)] = 100
    """Frames of a sequence."""
    seed: NumPySeed = 0
    """Seed of what differs between sequences."""


def main() -> None:
    """Parse, simulate, say what lies where."""
    arguments = cli.parse(Arguments, "gen_example", examples=["plume --out plume.nc"])

    # Imported only now: --help should not wait for Numba.
    from fastsep.data.examples.making import make

    print(make(arguments.name, arguments.out, arguments.size, arguments.frames, arguments.seed))


if __name__ == "__main__":
    entry.run(main)
