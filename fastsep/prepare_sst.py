"""Make zones of sea surface temperature from Copernicus files: ``python -m fastsep.prepare_sst SRC... --out DIR``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastsep import cli
from fastsep.data.settings import SST
from fastsep.errors import UserError
from fastsep.settings import Range, Settings

Latitude = Annotated[float, Range(-90, 90)]
Longitude = Annotated[float, Range(-360, 360)]


@dataclass(frozen=True)
class Arguments(Settings):
    """Cut daily ocean temperature into 64x64 zones free of land, with the climatology of the first 80% of the days.

    Files of GLOBAL_MULTIYEAR_PHY_001_030 come with a free account from marine.copernicus.eu (copernicusmarine subset
    --dataset-id cmems_mod_glo_phy_my_0.083deg_P1D-m --variable thetao).
    """

    sources: cli.Positional[tuple[Path, ...]]
    """NetCDF files or directories of them; together an unbroken run of days."""
    out: Path = SST.default_path
    """Directory to write data_1.nc, data_2.nc, ... and manifest.csv into."""
    lat_min: Latitude = -90.0
    """Southern edge of the box in degrees [that of the files]."""
    lat_max: Latitude = 90.0
    """Northern edge."""
    lon_min: Longitude = -180.0
    """Western edge in degrees east: -30 and 330 are the same [that of the files]."""
    lon_max: Longitude = 360.0
    """Eastern edge."""
    depth: Annotated[float, Range(0, 12_000)] = 0.494
    """Level in metres; the nearest one is taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (("lat_min", "lat_max"), ("lon_min", "lon_max")):
            if not getattr(self, low) < getattr(self, high):
                flags = " below ".join(f"--{name.replace('_', '-')}" for name in (low, high))
                raise UserError(f"the box from {getattr(self, low):g} to {getattr(self, high):g} is empty: set {flags}")


def main() -> None:
    """Parse, cut up, write."""
    arguments = cli.parse(Arguments, "prepare_sst")

    # Imported only now: --help should not wait for NumPy and HDF5.
    from fastsep.data.copernicus import Region, prepare_zones
    from fastsep.progress import progress_bar

    a, out = arguments, arguments.out
    region = Region(a.lat_min, a.lat_max, a.lon_min, a.lon_max, a.depth)
    blocks = lambda numbers, total: progress_bar(numbers, total=total, unit="block")  # noqa: E731
    zones, notes = prepare_zones(arguments.sources, out, region, blocks)
    for note in notes:
        print(note)
    print(f"{out}: {zones} zones, listed in {out / 'manifest.csv'}")
    if zones != 29:
        print(f"train with --zones {' '.join(map(str, range(1, zones + 1)))} and --test-zones of your choice")


if __name__ == "__main__":
    cli.run(main)
