"""What a NetCDF file says about a forecast: the axes, coordinates and units of the frames before it, times going on.

Letters: N sequences, h forecast horizon, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastsep.data.formats.netcdf_stream import Variable
from fastsep.data.frames.showing import regular_step
from fastsep.data.frames.source import Coordinate, Source
from fastsep.errors import warn

_DIMS = {"n": "sequence", "t": "time", "c": "channel", "h": "y", "w": "x", "p": "point"}
"""Names of axes that the file does not name."""
_LEFT_OUT = {"crc32", "bounds", "coordinates", "_ARRAY_DIMENSIONS"}
"""Attributes that hold for the file before."""
_OF_THESE_TIMES = {
    "valid_min", "valid_max", "valid_range", "actual_range", "climatology", "_FillValue", "missing_value"
}  # fmt: skip
"""Attributes of a time that need not hold for those after it."""


@dataclass(frozen=True)
class Continued:
    """The variables of a file."""

    sizes: dict[str, int]
    variables: dict[str, Variable]
    written: tuple[str, ...]
    """The large variable that holds all channels, or one for each channel."""


def continue_source(
    source: Source, shape: tuple[int, ...], names: tuple[str, ...], units: tuple[str, ...], every: int
) -> Continued:
    """The variables for forecasts (N, h, C, *space) = ``shape`` of every ``every``-th frame after those of ``source``.

    A channel is a variable of its own, unless the channels of ``source`` lie along an axis and share one name or none.
    """
    sequences, horizon, channels, *space = shape
    has_sequences = "n" in source.layout or sequences > 1
    # Several arrays, each with an axis of length 1 such as a depth, are channels by themselves.
    has_channels = "c" in source.layout and len({_stem(name) for name in source.names}) <= 1
    letters = "n" * has_sequences + "t" + "c" * has_channels + ("hw" if len(space) == 2 else "p")
    dims = _name_axes(source.dims, letters)
    lengths = {"n": sequences, "t": horizon, "c": channels, **dict(zip(letters[-len(space) :], space, strict=True))}
    sizes = {dims[letter]: lengths[letter] for letter in letters}
    variables = _keep(source.coordinates, sizes, dims["t"], source.dims.get("c"))
    variables[dims["t"]] = _continue_time(source, dims["t"], horizon, every)
    beside = [name for name in variables if name not in sizes]
    shared = {"coordinates": " ".join(beside)} if beside else {}
    written = [_common(names)] if has_channels or not names else _own_names(names)
    if len(written) == 1 and channels > 1 and not has_channels:  # channels of a file that has no names for them
        written = [f"{written[0]}_{channel}" for channel in range(channels)]
    written = [f"forecast_{name}" if name in {*sizes, *variables} else name for name in written]
    for channel, name in enumerate(written):
        said = set(units) if len(written) == 1 else {units[channel]} if units else set()
        unit = said.pop() if len(said) == 1 else ""
        notes = {"_FillValue": np.float32(np.nan), **({"units": unit} if unit else {}), **shared}
        variables[name] = Variable(tuple(sizes), None, notes)
    return Continued(sizes, variables, tuple(written))


def _own_names(names: tuple[str, ...]) -> list[str]:
    """A name for each channel, different from the others': its own, with its groups where that is not enough."""
    short = [name.strip("/").rsplit("/", 1)[-1] for name in names]
    if len(set(short)) < len(short):
        short = [name.strip("/").replace("/", "_") for name in names]
    short = ["forecast" if name in ("", ".", "..") else name for name in short]
    return short if len(set(short)) == len(short) else [f"{name}_{k}" for k, name in enumerate(short)]


def continue_times(times: np.ndarray, horizon: int, every: int) -> np.ndarray | None:
    """The times (h,) of every ``every``-th step after ``times`` (T,); None where they do not go by equal steps."""
    step = regular_step(times)
    if step is None:
        return None
    ahead = step * every * np.arange(1, horizon + 1)
    if times.dtype.kind == "f":
        return (float(times[-1]) + ahead).astype(times.dtype.newbyteorder("="))
    after = [int(times[-1]) + round(by) for by in ahead.tolist()]
    for kind in (times.dtype.newbyteorder("="), np.dtype(np.int64)):
        if np.iinfo(kind).min <= min(after) and max(after) <= np.iinfo(kind).max:
            return np.array(after, kind)
    return None


def _name_axes(dims: Mapping[str, str], letters: str) -> dict[str, str]:
    """Names of the axes by letter: those of the file, where they differ from each other."""
    named = {letter: dims.get(letter, _DIMS[letter]).rsplit("/", 1)[-1] for letter in letters}
    return named if len(set(named.values())) == len(letters) else {letter: _DIMS[letter] for letter in letters}


def _keep(
    coordinates: Mapping[str, Coordinate], sizes: Mapping[str, int], time: str, channel: str | None
) -> dict[str, Variable]:
    """The coordinates that hold for the forecast too: those that do not change with time.

    Args:
        channel: the axis of the file's channels. Where it is of length 1 and none of the forecast's, its coordinates
            are scalars.
    """
    kept = {}
    for name, (dims, values, attributes) in coordinates.items():
        if channel in dims and channel not in sizes and values.shape[dims.index(channel)] == 1:
            values = values.squeeze(dims.index(channel))
            dims = tuple(dim for dim in dims if dim != channel)
        fits = all(sizes.get(dim) == size for dim, size in zip(dims, values.shape, strict=True))
        if fits and time not in dims and (name not in sizes or dims == (name,)):
            kept[name] = Variable(tuple(dims), values, _notes(attributes))
    return kept


def _continue_time(source: Source, name: str, horizon: int, every: int) -> Variable:
    before = source.coordinates.get(name)
    if before is not None and before.dims == (name,) and len(before.values) == source.frames:
        times = continue_times(before.values, horizon, every)
        if times is not None:
            notes = _notes(before.attributes)
            return Variable((name,), times, {key: value for key, value in notes.items() if key not in _OF_THESE_TIMES})
        warn(f"the times ({name}) of the input do not go by equal steps: those of the forecast count frames")
    steps = every * np.arange(1, horizon + 1, dtype=np.int32)
    return Variable((name,), steps, {"long_name": "frames after the last one that was given", "units": "1"})


def _notes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that can be written: texts and numbers."""
    plain = {name: value for name, value in attributes.items() if name not in _LEFT_OUT}
    return {
        name: value for name, value in plain.items() if isinstance(value, str) or np.asarray(value).dtype.kind in "iufb"
    }


def _stem(name: str) -> str:
    """That of an array whose channel is called ``u[0]``."""
    return name.rsplit("[", 1)[0]


def _common(names: tuple[str, ...]) -> str:
    """The name of an array whose channels are called ``u[0]``, ``u[1]`` and so on; "forecast" of others."""
    stems = {_stem(name) for name in names}
    return stems.pop().rsplit("/", 1)[-1] if len(stems) == 1 and names else "forecast"
