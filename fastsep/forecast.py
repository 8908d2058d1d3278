"""Forecast the sequences of a file: ``python -m fastsep.forecast runs/mine frames.nc --horizon 20 --out future.nc``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli, entry
from fastsep.settings import Count, Device, Range, Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Forecast every sequence of a file of frames from its last frames, in the data's own units.

    Of .h5, .npy and .npz the forecast is one array, sequences, frames, channels, then height and width or points; in
    .nc it has the names, coordinates and units of INPUT, with times that go on."""

    run: Annotated[cli.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run directory, as training wrote it."""
    data: Annotated[cli.Positional[Path], tyro.conf.arg(metavar="INPUT")]
    """File or folder of frames: HDF5, NetCDF, .npy, .npz, Zarr, a folder of .npy, The Well. For a run on the paper's
    data, as its model sees them: from 0 to 1 (sst: each frame of mean 0 and deviation 1)."""
    horizon: Annotated[int, Range(1, 1_000_000)]
    """Frames to forecast."""
    out: Path
    """File to write: .h5, .hdf5, .npy, .npz or .nc."""
    animate: Path | None = None
    """GIF to draw the first sequence's forecast into, of several channels the first."""
    motion: Path | None = None
    """File of frames whose motion the forecasts take on, while what they show stays: as many sequences, or one."""
    variable: tuple[str, ...] = ()
    """Variables of the file, stacked as channels [as in training]."""
    layout: str | None = None
    """Axes of the file, such as nthw or tchw [as in training]."""
    every: Count | None = None
    """Keep every K-th frame [as in training]."""
    best: bool = False
    """Take the checkpoint with the least error in validation instead of the newest."""
    device: Device = "auto"
    """auto (the GPU where there is one), cpu, cuda or cuda:N."""


def main() -> None:
    """Parse, forecast, say what was written."""
    arguments = cli.parse(Arguments, "forecast", examples=["runs/mine mine.h5 --horizon 40 --out forecast.h5"])

    # Imported only now: --help should not wait for PyTorch.
    from fastsep.inference.forecast_file import forecast_file

    print(*forecast_file(**vars(arguments)), sep="\n")


if __name__ == "__main__":
    entry.run(main)
