"""One measurement as a JSON object: the form that the suites write and the report reads.

A results file is ``{"environment": {...}, "ceilings": {...}, "rows": [...]}`` (``bench/results/<device>/<group>.json``)
or one JSON object a line, the first with the environment (``suite.jsonl``, which can be cut off anywhere).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastsep.files import make_directory, write_text

NOT_MEASURED = "not measured"


@dataclass
class Row:
    """One way of doing one thing on one device.

    Attributes:
        group: what is done, for example ``step/wave``.
        way: who does it and how: ``reference``, ``reference compiled``, ``fastsep``, ``fastsep captured`` ...
        device: ``cpu`` or ``cuda``.
        precision: ``fp32`` or ``bf16``.
        case: the sizes, for example ``{"batch": 128}``; rows of a group with equal cases can be compared.
        seconds: median, p20, p80, min, max and rounds, in seconds a call.
        items: sequences (frames for scores) a call.
        flops: floating-point operations a call needs, as the reference counts them.
        bytes: the least memory traffic a call needs.
        peak_bytes: memory held at most during a call.
        reference_seconds: median of the naive reference's rounds that were run between this row's own, if any were.
        absent: why there are no seconds.
        info: anything else.
    """

    group: str
    way: str
    device: str
    precision: str = "fp32"
    case: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] | None = None
    items: float | None = None
    flops: float | None = None
    bytes: float | None = None
    peak_bytes: int | None = None
    reference_seconds: float | None = None
    absent: str | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names the row among all rows of a device."""
        case = ",".join(f"{k}={v}" for k, v in sorted(self.case.items()))
        return "|".join((self.group, self.way, self.device, self.precision, case))

    @property
    def per_second(self) -> float | None:
        """Items a second at the median."""
        return self.items / self.seconds["median"] if self.items and self.seconds else None

    def of_ceiling(self, ceilings: dict[str, float]) -> float | None:
        """The floor time that the measured ceilings imply, over the median time; ``None`` without counted work."""
        if not self.seconds or not ceilings or not (self.flops or self.bytes):
            return None
        arithmetic = (self.flops or 0) / ceilings["matmul_bf16" if self.precision == "bf16" else "matmul_fp32"]
        traffic = (self.bytes or 0) / ceilings["copy"]
        return max(arithmetic, traffic) / self.seconds["median"]

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, {})}


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` whole or not at all."""
    make_directory(path.parent)
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_rows(values: Iterable[dict[str, Any]]) -> list[Row]:
    return [Row(**value) for value in values]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line that was cut off is left out."""
    objects = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            objects.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return objects


def baseline(row: Row, rows: Iterable[Row]) -> Row | None:
    """The naive eager float32 row that ``row`` is compared with: same group, case and device.

    The number of generated sequences may differ, since the reference makes one at a time.
    """

    def task(row: Row) -> tuple:
        return row.group, row.device, {name: value for name, value in row.case.items() if name != "sequences"}

    for other in rows:
        if other.way == "reference" and other.precision == "fp32" and other.seconds and task(other) == task(row):
            return other
    return None


def speedup(row: Row, rows: Iterable[Row]) -> float | None:
    """Items a second over those of the row's baseline; ``None`` without one."""
    other = baseline(row, rows)
    if not (other and row.per_second and other.per_second):
        return None
    return row.per_second / other.items * baseline_seconds(row, other)


def baseline_seconds(row: Row, other: Row) -> float:
    """The time of ``row``'s baseline ``other``, measured between the row's own rounds where that was done."""
    return row.reference_seconds or other.seconds["median"]


def table_lines(rows: list[Row]) -> list[str]:
    """What was timed as a table for the terminal, with its head."""
    lines = [f"{'group':16s} {'way':34s} {'case':40s} {'median':>10s} {'x ref':>9s}"]
    for row in rows:
        if row.seconds:
            gain, way = speedup(row, rows), f"{row.way} {row.precision}"
            case = " ".join(f"{name}={value}" for name, value in row.case.items())
            ratio = f"{gain:9.2f}" if gain else ""
            lines.append(f"{row.group:16s} {way:34s} {case:40s} {row.seconds['median'] * 1e3:8.3f}ms {ratio}")
    return lines
