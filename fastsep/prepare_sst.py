"""Make zones of sea surface temperature from Copernicus files: ``python -m fastsep.prepare_sst SRC... --out DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli
from fastsep.data.copernicus import Region, prepare_zones
from fastsep.data.sst import DIRECTORY
from fastsep.progress import progress_bar


def main() -> None:
    """Parse, cut up, write."""
    tyro.cli(_prepare, prog="python -m fastsep.prepare_sst")


def _prepare(
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    out: Path = DIRECTORY,
    lat_min: float = Region.lat_min,
    lat_max: float = Region.lat_max,
    lon_min: float = Region.lon_min,
    lon_max: float = Region.lon_max,
    depth: float = Region.depth,
) -> None:
    """Cut daily ocean temperature into 64x64 zones free of land, with the climatology of the first 80% of the days.

    Files of GLOBAL_MULTIYEAR_PHY_001_030 come with a free account from marine.copernicus.eu (copernicusmarine subset
    --dataset-id cmems_mod_glo_phy_my_0.083deg_P1D-m --variable thetao).

    Args:
        sources: NetCDF files or directories of them; together an unbroken run of days.
        out: Directory to write data_1.nc, data_2.nc, ... and manifest.csv into.
        lat_min: Southern edge of the box in degrees [that of the files].
        lat_max: Northern edge.
        lon_min: Western edge in degrees, as the files count them [that of the files].
        lon_max: Eastern edge.
        depth: Level in metres; the nearest one is taken.
    """
    region = Region(lat_min, lat_max, lon_min, lon_max, depth)
    zones = prepare_zones(sources, out, region, lambda blocks, total: progress_bar(blocks, total=total, unit="block"))
    print(f"{out}: {zones} zones, listed in {out / 'manifest.csv'}")
    if zones != 29:
        print(f"train with --zones {' '.join(map(str, range(1, zones + 1)))} and --test-zones of your choice")


if __name__ == "__main__":
    cli.run(main)
