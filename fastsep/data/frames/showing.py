"""What the coordinates of a file say about how its frames are shown: which way is up, how much time goes by."""

from __future__ import annotations

import numpy as np

from fastsep.data.frames.source import Source

_NORTH = {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"}
"""Units of latitude, in small letters (CF conventions, 4.1)."""
_REGULAR = 1e-3
"""Of a step of time, by which others may differ."""


def goes_north(source: Source) -> bool:
    """Whether the last row of a frame is the northernmost: rows are latitudes that rise."""
    rows = source.coordinates.get(source.dims.get("h", ""))
    if rows is None or rows.values.ndim != 1 or len(rows.values) < 2:
        return False
    said = {name: str(rows.attributes.get(name, "")).lower() for name in ("units", "standard_name")}
    is_latitude = said["units"] in _NORTH or said["standard_name"] == "latitude"
    return bool(is_latitude and rows.values[-1] > rows.values[0])


def step_of(source: Source, every: int) -> str:
    """The unit in which frames are counted of which every ``every``-th is taken: "frames of 2 s", or "frames"."""
    times = source.coordinates.get(source.dims.get("t", ""))
    unit, since, _ = str(times.attributes.get("units", "")).partition(" since ") if times else ("", "", "")
    step = regular_step(times.values) if times else None
    if not step or not unit.strip():
        return "frames" if every == 1 else f"steps of {every} frames"
    length = f"{abs(step) * every:.6g}"
    return f"frames of {length} {unit.strip().removesuffix('s') if since and length == '1' else unit.strip()}"


def regular_step(times: np.ndarray) -> float | None:
    """The step of ``times`` (T,), as they stand in a file; None where they do not go by equal steps."""
    if times.ndim != 1 or len(times) < 2 or times.dtype.kind not in "iuf" or not np.isfinite(times).all():
        return None
    if times.dtype.kind == "f":
        since = times.astype(np.float64) - float(times[-1])
    else:  # counted from the last one: nanoseconds since 1970 are more than a float64 tells apart
        since = np.array([int(time) - int(times[-1]) for time in times], np.float64)
    steps = np.diff(since)
    step = -since[0] / len(steps)
    rounding = 0.0 if times.dtype.kind != "f" else 4 * np.spacing(np.abs(times).max())
    return None if step == 0 or np.abs(steps - step).max() > _REGULAR * abs(step) + rounding else float(step)
