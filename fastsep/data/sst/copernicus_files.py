"""Copernicus ocean files as one unbroken run of days: opened lazily, put in order, laid over one grid.

Letters: T days, H latitudes and W longitudes of the box.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastsep.data.formats.netcdf import Variable, open_variables, order_of_axes
from fastsep.data.formats.netcdf_time import NO_LEAP, decode_days
from fastsep.data.formats.reading import reading
from fastsep.data.sst.files import SIDE
from fastsep.data.sst.settings import Region
from fastsep.errors import UserError

POSSIBLE = (-2.8, 45.0)
"""Temperatures of the open sea in degrees Celsius; it freezes at -2."""
_REMEDY = "fetch it again"
_DAY = np.timedelta64(1, "D")
_DEPTH_TOLERANCE = 0.5  # metres
_GRID_TOLERANCE = 1e-3  # degrees; products round differently
_ROUNDING = 1e-6
_KELVIN = 273.15
_SURELY_KELVIN = (250.0, 330.0)
_SAME = 2e-3  # degrees; the product's resolution is 0.0007


@dataclass(frozen=True)
class Source:
    """One file: its temperature within the region, read when asked for."""

    path: Path
    temperature: Variable
    days: np.ndarray
    """(T,) datetime64[D]."""
    latitude: np.ndarray
    """(H,), from south to north."""
    longitude: np.ndarray
    """(W,)."""
    axes: tuple[str, ...]
    """Those of the variable in the file, time, latitude, longitude and perhaps depth in some order."""
    box: dict[str, Any]
    """What to take along each axis but time and longitude."""
    columns: tuple[slice, ...]
    """The longitudes of the box; two slices where the box lies across the seam of the file's grid."""
    northern: bool
    """The file begins in the north."""
    no_leap: bool
    """There is no 29 February."""
    first: int = 0
    """Where ``days`` begin in the file."""
    offset: float = 0.0
    """What to take from the values to have degrees Celsius."""

    def read(self, first: int, count: int) -> np.ndarray:
        """Days ``first`` to ``first + count``, (count, H, W) in degrees Celsius; NaN where there is no number."""
        start, stop = self.first + first, self.first + min(first + count, len(self.days))
        order = [axis for axis in self.axes if axis != "depth"]
        parts = []
        for columns in self.columns:
            taken = self.box | {"time": slice(start, stop), "longitude": columns}
            part = self.temperature.read(*(taken[axis] for axis in self.axes))
            parts.append(part.transpose([order.index(axis) for axis in ("time", "latitude", "longitude")]))
        values = np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]
        values = values[:, ::-1] if self.northern else values
        return values - np.asarray(self.offset, values.dtype) if self.offset else values


def open_sources(paths: Sequence[Path], region: Region) -> list[Source]:
    """Open the files in the order of time; of days that two of them have, the first one's are taken.

    Raises:
        UserError: a file is damaged or does not fit the others, or days are missing or contradict each other.
    """
    sources = sorted((_open_source(path, region) for path in find_files(paths)), key=lambda source: source.days[0])
    first = sources[0]
    for source in sources[1:]:
        for axis in ("latitude", "longitude"):
            theirs, ours = getattr(source, axis), getattr(first, axis)
            if len(theirs) != len(ours):
                counts = f"{len(theirs)} {axis}s in the box, not {len(ours)}"
                raise UserError(
                    f"{source.path} has another grid than {first.path} ({counts}): give files of one product"
                )
            if np.abs(theirs - ours).max() > _GRID_TOLERANCE:
                raise UserError(
                    f"{source.path} has another grid than {first.path} (its {axis}s begin at {theirs[0]:g}, not "
                    f"{ours[0]:g}): give files of one product"
                )
    chain: list[Source] = []
    for source in sources:
        rest = _without_overlap(source, chain)
        if rest is not None:
            _refuse_gap(rest, chain)
            chain.append(rest)
    return chain


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The NetCDF files that are named or lie in the named directories.

    Raises:
        UserError: one is missing, or there are none.
    """
    files: list[Path] = []
    for path in paths:
        if not os.path.exists(path):
            raise UserError(f"{path} is missing, or may not be read: give NetCDF files or directories of them")
        # macOS leaves ._NAME.nc beside files that it copies.
        files += sorted(path.glob("[!.]*.nc")) if os.path.isdir(path) else [path]
    if not files:
        raise UserError(f"{paths[0] if paths else 'SRC'} has no NetCDF files (*.nc)")
    return files


def _without_overlap(source: Source, chain: Sequence[Source]) -> Source | None:
    """What a file adds to the days before it. Days that both have must agree."""
    if not chain:
        return source
    new = np.flatnonzero(source.days > chain[-1].days[-1])
    start = int(new[0]) if len(new) else len(source.days)
    for row in range(start):
        day = source.days[row]
        for other in chain:
            there = np.flatnonzero(other.days == day)
            if not len(there):
                continue
            ours, theirs = source.read(row, 1)[0], other.read(int(there[0]), 1)[0]
            if not np.allclose(ours, theirs, rtol=0, atol=_SAME, equal_nan=True):
                cells = np.count_nonzero(~np.isclose(ours, theirs, rtol=0, atol=_SAME, equal_nan=True))
                raise UserError(
                    f"{other.path} and {source.path} both have the day {day}, and {cells} of its cells differ: "
                    "leave one of the files out"
                )
    if start == len(source.days):
        return None
    return replace(source, first=start, days=source.days[start:])


def _refuse_gap(source: Source, chain: Sequence[Source]) -> None:
    last = chain[-1].days[-1:] if chain else source.days[:0]
    days = np.concatenate([last, source.days])
    steps = np.diff(days)
    if source.no_leap:  # from 28 February to 1 March is one day there
        leap_day = (days[:-1] + _DAY).astype("datetime64[M]").astype(np.int64) % 12 == 1
        leap_day &= (days[:-1] + 2 * _DAY).astype("datetime64[M]") == (days[:-1] + 2 * _DAY)
        steps = np.where(leap_day & (steps == 2 * _DAY), _DAY, steps)
    breaks = np.flatnonzero(steps != _DAY)
    if len(breaks):
        before, after = days[breaks[0]], days[breaks[0] + 1]
        remedy = "give a file of each day between" if after > before else "its days are to be in order, each once"
        raise UserError(f"day {before} is followed by {after} in {source.path}: {remedy}")


def _open_source(path: Path, region: Region) -> Source:
    variables = open_variables(path, ("thetao", "time", "depth", "latitude", "longitude"))
    if "thetao" not in variables:
        raise UserError(f"{path} has no variable thetao: fetch the daily temperature of GLOBAL_MULTIYEAR_PHY_001_030")
    temperature = variables.pop("thetao")
    if len(temperature.shape) == 3:
        variables.pop("depth", None)
    absent = [name for name in ("time", "latitude", "longitude") if name not in variables]
    if absent:
        raise UserError(f"{path} has no variable {absent[0]}: {_REMEDY}")
    values = {name: variable.read() for name, variable in variables.items()}
    time = variables["time"]
    with reading(path, "NetCDF file of daily temperatures", _REMEDY):
        if any(value.ndim != 1 or not len(value) or not np.isfinite(value).all() for value in values.values()):
            raise ValueError("its axes are no lists of numbers")
        axes = order_of_axes(temperature.shape, {name: len(value) for name, value in values.items()})
        days = decode_days(values["time"], time.units, time.calendar)
    box: dict[str, Any] = {}
    if "depth" in values:
        depths = np.abs(values["depth"] - region.depth)
        if depths.min() > _DEPTH_TOLERANCE:
            raise UserError(f"{path} has no level within {_DEPTH_TOLERANCE} m of {region.depth} m: set --depth")
        box["depth"] = int(depths.argmin())
    latitude = values["latitude"]
    rows = np.flatnonzero((latitude >= region.lat_min) & (latitude <= region.lat_max))
    columns, longitude = box_columns(values["longitude"], region.lon_min, region.lon_max)
    if len(rows) < SIDE or len(longitude) < SIDE:
        spans = (f"{name}s {values[name].min():g} to {values[name].max():g}" for name in ("latitude", "longitude"))
        raise UserError(
            f"{path} has {len(rows)}x{len(longitude)} cells in the box, fewer than {SIDE}x{SIDE}: widen it (the file "
            f"has {' and '.join(spans)})"
        )
    box["latitude"] = slice(int(rows[0]), int(rows[-1]) + 1)
    latitude = latitude[box["latitude"]]
    northern = bool(latitude[0] > latitude[-1])  # zones are numbered from the south
    source = Source(
        path, temperature, days, latitude[::-1] if northern else latitude, longitude, axes, box, columns, northern,
        no_leap=time.calendar.lower() in NO_LEAP,
    )  # fmt: skip
    return replace(source, offset=_offset(source))


def box_columns(longitude: np.ndarray, low: float, high: float) -> tuple[tuple[slice, ...], np.ndarray]:
    """Columns between two longitudes, going east, and their longitudes (W,) counted from ``low``.

    Both may count from -180 or from 0, each in its own way. A span of 360 degrees and more, with an edge that nobody
    gave, is taken as the file counts.

    Args:
        longitude: (all,), increasing.
    """
    if high - low >= 360:
        inside = (longitude >= low) & (longitude <= high)
        first = int(inside.argmax())
        return (slice(first, first + np.count_nonzero(inside)),), longitude[inside]
    # A little below the edge counts as at it, so that rounding moves no column to the other end.
    from_low = low + (longitude - low + _GRID_TOLERANCE) % 360 - _GRID_TOLERANCE
    inside = np.flatnonzero((from_low >= low - _ROUNDING) & (from_low <= high + _ROUNDING))
    if not len(inside):
        return (), longitude[:0]
    # A run ends where columns are left out, and where the box comes round to its western edge.
    breaks = np.flatnonzero((np.diff(inside) > 1) | (np.diff(from_low[inside]) < 0)) + 1
    runs = sorted(np.split(inside, breaks), key=lambda run: from_low[run[0]])
    slices = tuple(slice(int(run[0]), int(run[-1]) + 1) for run in runs)
    return slices, np.concatenate([from_low[run] for run in runs])


def _offset(source: Source) -> float:
    """273.15 for files in kelvin, by their own word or by numbers that no sea reaches in degrees Celsius."""
    units = source.temperature.units.lower().replace("_", "").replace(" ", "")
    if units in ("k", "kelvin", "degk", "degreek", "degreesk", "degreekelvin", "degreeskelvin"):
        return _KELVIN
    frame = source.read(0, 1)
    values = frame[np.isfinite(frame) & (np.abs(frame) < 1e4)]
    low, high = _SURELY_KELVIN
    return _KELVIN if len(values) and low < np.median(values[values != 0]) < high else 0.0
