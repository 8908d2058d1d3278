"""Time and memory along one axis at a time: batch, grid, horizon, number of sequences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from bench import subjects, subjects_data
from bench.rows import Row
from bench.subjects import Subject

AXES = ("batch", "grid", "horizon", "sequences")
WAYS = ("reference", "fastsep")
VALUES = {
    ("batch", "cpu"): (16, 32, 64, 128, 256), ("batch", "cuda"): (16, 64, 256, 1024, 4096),
    ("grid", "cpu"): (32, 64, 128, 256), ("grid", "cuda"): (32, 64, 128, 256),
    ("horizon", "cpu"): (10, 25, 50, 100, 200), ("horizon", "cuda"): (10, 25, 50, 100, 200, 400),
    ("sequences", "cpu"): (1, 2, 4, 8, 16, 32), ("sequences", "cuda"): (1, 10, 100, 1000, 3000),
}  # fmt: skip
SMALL = {"batch": (2, 4), "grid": (16, 32), "horizon": (2, 4), "sequences": (1, 2)}


def subjects_along(axis: str, device: torch.device, small: bool = False) -> Iterator[tuple[Row, Callable[[], Subject]]]:
    """Rows of group ``scaling/<axis>`` and what makes their subjects, in growing order.

    ``batch``: a wave100 step; ``horizon``: a wave forecast of 16 sequences; ``grid`` and ``sequences``: wave
    generation (the reference makes one sequence at a time on the CPU and is left out of ``sequences``).
    """
    for way in WAYS:
        if way == "reference" and (axis == "sequences" or (axis == "grid" and device.type == "cuda")):
            continue
        for value in SMALL[axis] if small else VALUES[axis, device.type]:
            row = Row(f"scaling/{axis}", way, device.type, "fp32", {axis: value})
            yield row, lambda w=way, v=value: _subject(axis, w, v, device, small)


def _subject(axis: str, way: str, value: int, device: torch.device, small: bool) -> Subject:
    if axis == "batch":
        subject = subjects.step("wave100", way, value, device, "fp32", small)
    elif axis == "horizon":
        subject = subjects.forecast("wave", way, 16, value, device, "fp32", small)
    elif axis == "grid":
        # The larger the grid, the fewer sequences: 256 x 256 x 60 frames x 8 is 126 MB.
        sequences = 1 if way == "reference" or small else 8
        subject = subjects_data.generate(way, sequences, device, frames=4 if small else 60, grid=value)
    else:
        subject = subjects_data.generate(way, value, device, frames=4 if small else 300, grid=16 if small else 64)
    subject.row.group, subject.row.case, subject.row.way = f"scaling/{axis}", {axis: value}, way
    return subject


def exponent(x: Sequence[float], y: Sequence[float]) -> float | None:
    """p of the least-squares fit ``y ~ x^p`` in logarithms; ``None`` for fewer than two points."""
    pairs = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True) if a > 0 and b > 0]
    if len({a for a, _ in pairs}) < 2:
        return None
    mean_a = sum(a for a, _ in pairs) / len(pairs)
    mean_b = sum(b for _, b in pairs) / len(pairs)
    return sum((a - mean_a) * (b - mean_b) for a, b in pairs) / sum((a - mean_a) ** 2 for a, _ in pairs)
