"""Cuts Copernicus ocean files into land-free 64x64 zones and adds the climatology that normalisation needs.

Letters: T days, H latitudes and W longitudes of the box, Z zones.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastsep.data.residency import host_array
from fastsep.data.sst import training_frames
from fastsep.data.sst_files import SIDE, open_netcdf, read_values, write_zone
from fastsep.errors import UserError

_DAYS_AT_ONCE = 32
_DAY = np.timedelta64(1, "D")
_DEPTH_TOLERANCE = 0.5  # metres


@dataclass(frozen=True)
class Region:
    """The part of the ocean to cut up."""

    lat_min: float = -90.0
    lat_max: float = 90.0
    lon_min: float = -180.0
    lon_max: float = 360.0
    depth: float = 0.494
    """Metres."""


@dataclass(frozen=True)
class Source:
    """One file: its temperature within the region, read when asked for."""

    path: Path
    temperature: Any
    """``xarray.DataArray`` (T, H, W)."""
    days: np.ndarray
    """(T,) datetime64[D]."""
    latitude: np.ndarray
    longitude: np.ndarray


def prepare_zones(
    paths: Sequence[Path], out: Path, region: Region, progress: Callable[[Iterable[int], int], Iterable[int]]
) -> int:
    """Write ``out``/data_{zone}.nc, zones numbered from 1 by rows from the south-west, and ``out``/manifest.csv.

    Args:
        paths: NetCDF files with ``thetao`` (time[, depth], latitude, longitude) in degrees Celsius, or directories of
            them; together an unbroken run of days.
        progress: wraps the iteration over blocks of days, given how many there are.

    Returns:
        How many zones there are.

    Raises:
        UserError: a file is damaged or does not fit the others, days are missing, or no tile is free of land.
    """
    sources = open_sources(paths, region)
    days = np.concatenate([source.days for source in sources])
    climatology_keys(days)  # refuse too short a record before reading it
    corners = free_tiles(_read_days(sources[0], 0, 1)[0])
    if not corners:
        raise UserError(f"no tile of {SIDE}x{SIDE} cells in the box is free of land: choose another or a larger box")
    tiles = _read_tiles(sources, corners, len(days), progress)
    rows = []
    for zone, ((row, column), temperature) in enumerate(zip(corners, tiles, strict=True), start=1):
        latitude = sources[0].latitude[row : row + SIDE]
        longitude = sources[0].longitude[column : column + SIDE]
        mean, std = climatology(temperature, days)
        write_zone(
            out / f"data_{zone}.nc",
            {
                "thetao": (("time", "latitude", "longitude"), temperature, {"units": "degrees_C"}),
                "daily_mean": (("time",), mean.astype(np.float32), {"units": "degrees_C"}),
                "daily_std": (("time",), std.astype(np.float32), {"units": "degrees_C"}),
            },
            {"time": days.astype("datetime64[ns]"), "latitude": latitude, "longitude": longitude},
            {"zone": zone, "depth_m": region.depth, "source": ", ".join(source.path.name for source in sources)[:1000]},
        )
        rows.append([zone, row, column, latitude[0], latitude[-1], longitude[0], longitude[-1]])
    _write_manifest(out / "manifest.csv", rows)
    return len(rows)


def open_sources(paths: Sequence[Path], region: Region) -> list[Source]:
    """Open the files in the order of time.

    Raises:
        UserError: as ``prepare_zones``.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is missing: give NetCDF files or directories of them")
        files += sorted(path.glob("*.nc")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{paths[0] if paths else 'SRC'} has no NetCDF files (*.nc)")
    sources = sorted((_open_source(path, region) for path in files), key=lambda source: source.days[0])
    first = sources[0]
    for source in sources[1:]:
        same = np.array_equal(source.latitude, first.latitude) and np.array_equal(source.longitude, first.longitude)
        if not same:
            raise UserError(f"{source.path} has another grid than {first.path}: give files of one product")
    days = np.concatenate([source.days for source in sources])
    breaks = np.flatnonzero(np.diff(days) != _DAY)
    if len(breaks):
        raise UserError(f"day {days[breaks[0]]} is followed by {days[breaks[0] + 1]}: give a file of each day")
    return sources


def _open_source(path: Path, region: Region) -> Source:
    dataset = open_netcdf(path)
    if "thetao" not in dataset.variables:
        raise UserError(f"{path} has no variable thetao: fetch the daily temperature of GLOBAL_MULTIYEAR_PHY_001_030")
    temperature = dataset["thetao"]
    if "depth" in temperature.dims:
        depths = np.abs(read_values(path, dataset["depth"]) - region.depth)
        if depths.min() > _DEPTH_TOLERANCE:
            raise UserError(f"{path} has no level within {_DEPTH_TOLERANCE} m of {region.depth} m: set --depth")
        temperature = temperature.isel(depth=int(depths.argmin()))
    axes = {"time", "latitude", "longitude"}
    if set(temperature.dims) != axes or not axes <= set(dataset.variables):
        raise UserError(f"{path}: thetao has dimensions {', '.join(temperature.dims)}, not time, latitude, longitude")
    times, latitude, longitude = (read_values(path, dataset[name]) for name in ("time", "latitude", "longitude"))
    if not np.issubdtype(times.dtype, np.datetime64) or len(times) == 0:
        raise UserError(f"{path} has no dates")
    rows = np.flatnonzero((latitude >= region.lat_min) & (latitude <= region.lat_max))
    columns = np.flatnonzero((longitude >= region.lon_min) & (longitude <= region.lon_max))
    if len(rows) < SIDE or len(columns) < SIDE:
        raise UserError(f"{path} has {len(rows)}x{len(columns)} cells in the box, fewer than {SIDE}x{SIDE}: widen it")
    box = {"latitude": slice(rows[0], rows[-1] + 1), "longitude": slice(columns[0], columns[-1] + 1)}
    temperature = temperature.transpose("time", "latitude", "longitude").isel(box)
    latitude, longitude = latitude[box["latitude"]], longitude[box["longitude"]]
    if latitude[0] > latitude[-1]:  # zones are numbered from the south
        temperature, latitude = temperature.isel(latitude=slice(None, None, -1)), latitude[::-1]
    return Source(path, temperature, times.astype("datetime64[D]"), latitude, longitude)


def free_tiles(frame: np.ndarray) -> list[tuple[int, int]]:
    """First row and column of the tiles of a regular 64x64 tiling of ``frame`` (H, W) that have no missing cell."""
    return [
        (row, column)
        for row in range(0, frame.shape[0] - SIDE + 1, SIDE)
        for column in range(0, frame.shape[1] - SIDE + 1, SIDE)
        if np.isfinite(frame[row : row + SIDE, column : column + SIDE]).all()
    ]


def climatology(temperature: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each day of the year, over the cells and the training years of a zone.

    29 February counts as the 28th. Days after the training part take no part, so that nothing of the test is known.

    Args:
        temperature: (T, 64, 64).
        days: (T,) datetime64[D].

    Returns:
        Two arrays (T,) float64, the day-of-year values of each frame.
    """
    keys = climatology_keys(days)
    training = slice(0, training_frames(len(days)))
    frame_mean = temperature.mean((1, 2), dtype=np.float64)  # (T,)
    frame_variance = temperature.var((1, 2), dtype=np.float64)
    count = np.bincount(keys[training], minlength=keys.max() + 1)
    count = np.maximum(count, 1)  # days that no frame has
    mean = np.bincount(keys[training], frame_mean[training], len(count)) / count
    # Variance within frames plus variance of the frames' means: no cancellation, unlike the mean of squares.
    spread = frame_variance + np.square(frame_mean - mean[keys])
    std = np.sqrt(np.bincount(keys[training], spread[training], len(count)) / count)
    return mean[keys], std[keys]


def climatology_keys(days: np.ndarray) -> np.ndarray:
    """A number for the day of the year of each of ``days`` (T,), the same for 28 and 29 February.

    Raises:
        UserError: a day of the year is in no training year.
    """
    months = days.astype("datetime64[M]")
    month = months.astype(np.int64) % 12
    day = (days - months).astype(np.int64)
    day = np.where((month == 1) & (day == 28), 27, day)
    keys = month * 31 + day
    training = training_frames(len(days))
    unknown = np.flatnonzero(~np.isin(keys, keys[:training]))
    if len(unknown):
        raise UserError(
            f"the first 80% of the days, {training}, do not have the day of the year of {days[unknown[0]]}: "
            "give at least 15 months"
        )
    return keys


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
        block = _read_days(source, first, _DAYS_AT_ONCE)  # (up to 32, H, W)
        for zone, (row, column) in enumerate(corners):
            tile = block[:, row : row + SIDE, column : column + SIDE]
            bad = np.flatnonzero(~np.isfinite(tile).all((1, 2)))
            if len(bad):
                day = source.days[first + bad[0]]
                raise UserError(f"{source.path}, {day}: sea cells are missing in zone {zone + 1}: fetch it again")
            tiles[zone, done : done + len(tile)] = tile
        done += len(block)
    return tiles


def _read_days(source: Source, first: int, count: int) -> np.ndarray:
    return read_values(source.path, source.temperature.isel(time=slice(first, first + count)))


def _write_manifest(path: Path, rows: Iterable[Sequence[float]]) -> None:
    part = path.with_name(path.name + ".part")
    with open(part, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["zone", "row", "column", "south", "north", "west", "east"])
        writer.writerows(rows)
    part.replace(path)
