"""What the coordinates of a file say about how its frames are shown: which way is up, how much time goes by.

It is for pictures and warnings: coordinates that cannot be read count as if they were not there.
"""

from __future__ import annotations

import re

import numpy as np

from fastsep.data.formats.packing import Packing
from fastsep.data.frames.source import Coordinate, Source
from fastsep.errors import UserError

_NORTH = {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"}
"""Units of latitude, in small letters (CF conventions, 4.1)."""
_MISSING = 9e18
"""Beyond it lies what xarray writes for a time that is none."""
_SECONDS = {"sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600}
_SECONDS |= {"s": 1, "d": 86400, "day": 86400}
"""Units of time, in small letters and without the s of a plural."""
_REGULAR = 1e-3
"""Of a step of time, by which others may differ."""


def last_row(source: Source) -> str:
    """Which row of a frame the last one is, north or south, where rows are latitudes; else ""."""
    rows = _along(source, "h")
    if rows is None or len(rows.values) < 2 or not np.isfinite(rows.values).all():
        return ""
    said = {name: str(rows.attributes.get(name, "")).lower() for name in ("units", "standard_name")}
    is_latitude = said["units"] in _NORTH or said["standard_name"] == "latitude"
    return "" if not is_latitude else "north" if rows.values[-1] > rows.values[0] else "south"


def step_of(source: Source, every: int) -> str:
    """The unit in which frames are counted of which every ``every``-th is taken: "frames of 2 s", or "frames"."""
    times = _along(source, "t")
    said = str(times.attributes.get("units", "")) if times else ""
    unit = re.split(r"\s+since\s+", said.strip(), flags=re.IGNORECASE)[0]
    step = regular_step(times.values) if times else None
    if not step or not unit or unit == "1":
        return "frames" if every == 1 else f"steps of {every} frames"
    length = f"{abs(step) * every:.6g}"
    return f"frames of {length} {unit.removesuffix('s') if length == '1' and len(unit) > 3 else unit}"


def span_of_steps(source: Source) -> str:
    """The least and the largest step of times that do not go by equal ones, in words; "" where they do, or are none."""
    times = _along(source, "t")
    if times is None or len(times.values) < 3 or regular_step(times.values) is not None:
        return ""
    values = times.values.astype(np.float64)
    if not np.isfinite(values).all() or np.abs(values).max() > _MISSING:
        return "some are missing"
    steps = np.diff(values)
    if steps.min() < 0 < steps.max():
        return "out of order"
    steps = np.abs(steps)
    unit = re.split(r"\s+since\s+", str(times.attributes.get("units", "")).strip(), flags=re.IGNORECASE)[0]
    return f"{steps.min():.6g} to {steps.max():.6g} {unit}".strip()


def seconds_of(step: str) -> float | None:
    """How long a step is of which ``step_of`` said "frames of 6 hours"; None where it is not known."""
    found = re.fullmatch(r"frames of (\S+) (\w+)", step)
    unit = _SECONDS.get(found[2].lower().removesuffix("s") or "s") if found else None
    return float(found[1]) * unit if unit else None


def _along(source: Source, letter: str) -> Coordinate | None:
    """The coordinates (n,) of an axis, unpacked; None where there are none."""
    try:
        found = source.along(letter)
        if found is None or found.values.ndim != 1 or found.values.dtype.kind not in "iuf":
            return None
        packing = Packing.of(found.attributes, found.values.dtype)
        packed = packing.scale is not None or packing.offset is not None
        return found._replace(values=packing.unpack(found.values)) if packed else found
    except (UserError, ValueError):
        return None


def regular_step(times: np.ndarray) -> float | None:
    """The step of ``times`` (T,) in their own unit; None where they do not go by equal steps."""
    if times.ndim != 1 or len(times) < 2 or times.dtype.kind not in "iuf" or not np.isfinite(times).all():
        return None
    whole = times.dtype.kind != "f"
    # Counted from the last one: nanoseconds since 1970 are more than a float64 tells apart.
    since = np.subtract(times, times[-1], dtype=np.int64 if whole else np.float64, casting="unsafe").astype(np.float64)
    steps = np.diff(since)
    step = -since[0] / len(steps)
    rounding = 0.0 if whole else 4 * np.spacing(np.abs(times).max())
    return None if step == 0 or np.abs(steps - step).max() > _REGULAR * abs(step) + rounding else float(step)
