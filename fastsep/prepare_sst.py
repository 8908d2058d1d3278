"""Make zones of sea surface temperature from Copernicus files: ``python -m fastsep.prepare_sst SRC... --out DIR``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli, entry
from fastsep.data.sst.settings import SST, Region
from fastsep.errors import UserError
from fastsep.settings import Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Cut daily ocean temperature into 64x64 zones free of land, with the climatology of the first 80% of the days.

    Files of GLOBAL_MULTIYEAR_PHY_001_030 come with a free account from marine.copernicus.eu (copernicusmarine subset
    --dataset-id cmems_mod_glo_phy_my_0.083deg_P1D-m --variable thetao).
    """

    sources: cli.Positional[tuple[Path, ...]]
    """NetCDF files (3 or 4; degrees Celsius or kelvin) or directories of them; together an unbroken run of days."""
    out: Path = SST.default_path
    """Directory to write data_1.nc, data_2.nc, ... and manifest.csv into."""
    region: Annotated[Region, tyro.conf.OmitArgPrefixes] = field(default_factory=Region)


def main() -> None:
    """Parse, cut up, write."""
    arguments = cli.parse(Arguments, "prepare_sst", examples=["downloads/ --out data/sst"])
    if not arguments.sources:
        raise UserError("no file is given: python -m fastsep.prepare_sst SRC ... --out DIR")

    # Imported only now: --help should not wait for NumPy and HDF5.
    from fastsep.data.sst.copernicus import prepare_zones
    from fastsep.progress import progress_bar

    out = arguments.out
    blocks = lambda numbers, total: progress_bar(numbers, total=total, unit="block")  # noqa: E731
    zones, notes = prepare_zones(arguments.sources, out, arguments.region, blocks)
    for note in notes:
        print(note)
    print(f"{out}: {zones} zones, listed in {out / 'manifest.csv'}")
    if zones != 29:
        print(f"train with --zones {' '.join(map(str, range(1, zones + 1)))} and --test-zones of your choice")


if __name__ == "__main__":
    entry.run(main)
