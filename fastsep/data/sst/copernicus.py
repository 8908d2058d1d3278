"""Cuts Copernicus ocean files into land-free 64x64 zones and adds the climatology that normalisation needs.

Letters: T days, H latitudes and W longitudes of the box, Z zones.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastsep.data.disk_space import require_space
from fastsep.data.residency import host_array
from fastsep.data.sst.climatology import climatology, climatology_keys
from fastsep.data.sst.copernicus_files import POSSIBLE, Region, Source, find_files, open_sources
from fastsep.data.sst.files import MADE_BY, SIDE, write_zone
from fastsep.data.sst.zones import COLUMNS, MANIFEST, replace_zones
from fastsep.errors import UserError
from fastsep.files import write_text

__all__ = ["Prepared", "free_tiles", "prepare_zones"]

_DAYS_AT_ONCE = 32
_LOOKS = 12  # days over the whole record on which land is looked for


class Prepared(NamedTuple):
    """What was made."""

    zones: int
    notes: list[str]
    """What the user should know about how the files were read, a line each."""


def prepare_zones(
    paths: Sequence[Path], out: Path, region: Region, progress: Callable[[Iterable[int], int], Iterable[int]]
) -> Prepared:
    """Write ``out``/data_{zone}.nc, zones numbered from 1 by rows from the south-west, and ``out``/manifest.csv.

    Args:
        paths: NetCDF files with ``thetao`` (time[, depth], latitude, longitude) in degrees Celsius or kelvin, or
            directories of them; together an unbroken run of days.
        progress: wraps the iteration over blocks of days, given how many there are.

    Raises:
        UserError: a file is damaged or does not fit the others, days are missing, no tile is free of land, a sea cell
            holds no temperature, or ``out`` holds one of the files or zones that this program did not make.
    """
    if any(file.parent.resolve() == out.resolve() for file in find_files(paths)):
        raise UserError(f"{out} holds the files to be cut up: choose another --out, where nothing else lies")
    sources = open_sources(paths, region)
    days = np.concatenate([source.days for source in sources])
    climatology_keys(days)  # refuse too short a record before reading it
    notes = [f"{source.path} is in kelvin" for source in sources if source.offset]
    land, note = find_land(sources)
    corners = free_tiles(land)
    if not corners:
        raise UserError(
            f"no tile of {SIDE}x{SIDE} cells in the box is free of land{note and f' ({note})'}: "
            "choose another or a larger box"
        )
    require_space(out, len(corners) * (len(days) * SIDE * SIDE * 4 + 65536))
    with replace_zones(out) as folder:
        tiles = _read_tiles(sources, corners, len(days), progress)
        rows = []
        for zone, ((row, column), temperature) in enumerate(zip(corners, tiles, strict=True), start=1):
            latitude = sources[0].latitude[row : row + SIDE]
            longitude = sources[0].longitude[column : column + SIDE]
            mean, std = climatology(temperature, days)
            units = {"units": "degrees_C"}
            write_zone(
                folder / f"data_{zone}.nc",
                {
                    "thetao": (("time", "latitude", "longitude"), temperature, units),
                    "daily_mean": (("time",), mean.astype(np.float32), units),
                    "daily_std": (("time",), std.astype(np.float32), units),
                },
                {"time": days, "latitude": latitude, "longitude": longitude},
                {
                    "zone": zone,
                    "depth_m": region.depth,
                    "source": ", ".join(source.path.name for source in sources)[:1000],
                    "made_by": MADE_BY,
                },
            )
            rows.append([zone, row, column, latitude[0], latitude[-1], longitude[0], longitude[-1]])
        _write_manifest(folder / MANIFEST, rows)
    return Prepared(len(rows), notes + [note] * bool(note))


def find_land(sources: Sequence[Source]) -> tuple[np.ndarray, str]:
    """Cells (H, W) that are no sea, seen on a few days over the whole record, and what to say of them.

    They hold no number or no temperature on any of these days, or the very same one on all of them.
    """
    places = [(source, row) for source in sources for row in range(len(source.days))]
    never, low, high = np.True_, np.inf, -np.inf
    for place in np.unique(np.linspace(0, len(places) - 1, _LOOKS).astype(int)):
        source, row = places[place]
        frame = source.read(row, 1)[0]  # (H, W)
        never = never & ~_possible(frame)
        low, high = np.fmin(low, frame), np.fmax(high, frame)
    still = ~never & (low == high)
    numbers = still | (never & np.isfinite(low))
    if not numbers.any():
        return never | still, ""
    values, counts = np.unique(low[numbers], return_counts=True)
    common = values[counts.argmax()]
    return never | still, (
        f"{np.count_nonzero(numbers)} cells hold numbers that are no sea's or never change, most often {common:g}: "
        "they were taken as land"
    )


def free_tiles(land: np.ndarray) -> list[tuple[int, int]]:
    """First row and column of the tiles of a regular 64x64 tiling of ``land`` (H, W) bool that have none."""
    return [
        (row, column)
        for row in range(0, land.shape[0] - SIDE + 1, SIDE)
        for column in range(0, land.shape[1] - SIDE + 1, SIDE)
        if not land[row : row + SIDE, column : column + SIDE].any()
    ]


def _possible(values: np.ndarray) -> np.ndarray:
    low, high = POSSIBLE
    return (values >= low) & (values <= high)


def _read_tiles(
    sources: Sequence[Source],
    corners: Sequence[tuple[int, int]],
    days: int,
    progress: Callable[[Iterable[int], int], Iterable[int]],
) -> np.ndarray:
    """All zones (Z, T, 64, 64) float32 in one pass: the files are compressed in slabs wider than a zone."""
    tiles = host_array((len(corners), days, SIDE, SIDE), np.float32)
    blocks = [(source, first) for source in sources for first in range(0, len(source.days), _DAYS_AT_ONCE)]
    done = 0
    for number in progress(range(len(blocks)), len(blocks)):
        source, first = blocks[number]
        block = source.read(first, _DAYS_AT_ONCE)  # (up to 32, H, W)
        for zone, (row, column) in enumerate(corners):
            tile = block[:, row : row + SIDE, column : column + SIDE]
            bad = ~_possible(tile)
            if bad.any():
                day, y, x = np.argwhere(bad)[0]
                value = tile[day, y, x]
                what = "are missing" if np.isnan(value) else f"hold no temperature of a sea ({value:g})"
                raise UserError(
                    f"{source.path}, {source.days[first + day]}: {np.count_nonzero(bad[day])} sea cells {what} in zone "
                    f"{zone + 1}, the first at latitude {source.latitude[row + y]:g}, longitude "
                    f"{source.longitude[column + x]:g}: fetch it again, or choose a box without that place"
                )
            tiles[zone, done : done + len(tile)] = tile
        done += len(block)
    return tiles


def _write_manifest(path: Path, rows: Iterable[Sequence[float]]) -> None:
    """Where the zones lie, a line each."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_text(path, text.getvalue())
