"""Reads everything under ``bench/results`` into one object a device."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.rows import Row, read_lines, read_rows

FIELDS = set(Row.__dataclass_fields__)


@dataclass
class Group:
    """Rows that one run measured side by side."""

    name: str
    environment: dict[str, Any]
    ceilings: dict[str, float]
    rows: list[Row]

    @property
    def timed(self) -> list[Row]:
        return [row for row in self.rows if row.seconds]

    def of_ceiling(self, row: Row) -> float | None:
        """The floor time that the ceilings imply, over the median time."""
        return row.of_ceiling(self.ceilings)


@dataclass
class Device:
    """All results of one device: groups by name, notes of the GPU suite, training runs, schedules that were tried."""

    slug: str
    environment: dict[str, Any] = field(default_factory=dict)
    ceilings: dict[str, float] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    schedules: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As its maker calls it; of a CPU also the threads and the units that multiply matrices."""
        units = self.environment.get("matrix_units")
        return self.environment.get("device", self.slug) + (f", {units}" if units else "")

    @property
    def is_gpu(self) -> bool:
        return "cuda" in self.environment

    def matching(self, prefix: str) -> list[Group]:
        """Groups whose name starts with ``prefix``, with something measured."""
        return [group for name, group in sorted(self.groups.items()) if name.startswith(prefix) and group.timed]


def read_device(folder: Path) -> Device:
    """One folder of ``bench/results``."""
    device = Device(folder.name)
    for path in sorted(folder.glob("*.json")):
        value = json.loads(path.read_text())
        if "rows" not in value:
            continue
        rows = read_rows(value["rows"])
        name = rows[0].group if rows else path.stem
        device.groups[name] = Group(name, value["environment"], value["ceilings"], rows)
        if value["environment"]["date"] >= device.environment.get("date", ""):
            device.environment, device.ceilings = value["environment"], value["ceilings"]
    for _, path in sorted((_date(path), path) for path in folder.glob("*.jsonl")):
        _read_suite(device, path)
    for path in sorted((folder / "reproduction").glob("*.json")):
        device.runs.append(json.loads(path.read_text()))
        device.environment = device.environment or device.runs[-1]["environment"]
    for path in sorted((folder / "schedules").glob("*.jsonl")):
        device.schedules += read_lines(path)
    found = next((row["environment"] for row in device.schedules if "environment" in row), {})
    device.environment = device.environment or found
    return device


def _date(path: Path) -> str:
    return next((line["date"] for line in read_lines(path) if line["kind"] == "environment"), "")


def _read_suite(device: Device, path: Path) -> None:
    """Add the lines of a GPU suite; its groups take the place of equal ones."""
    lines = read_lines(path)
    environment = next((line for line in lines if line["kind"] == "environment"), {})
    notes = {line["key"]: line for line in lines if line["kind"] == "note"}
    ceilings = {k: v for k, v in notes.get("ceilings", {}).items() if isinstance(v, float)}
    own = {k: v for k, v in environment.items() if k != "kind"}
    # What was only noted says its commit itself: it must not date the rows of other runs.
    if any(line["kind"] == "row" for line in lines) or not device.environment:
        device.environment = own or device.environment
    device.ceilings = ceilings or device.ceilings
    for line in lines:
        if line["kind"] != "row":
            continue
        row = Row(**{name: value for name, value in line.items() if name in FIELDS})
        group = device.groups.get(row.group)
        if group is None or group.environment is not device.environment:
            group = device.groups[row.group] = Group(row.group, device.environment, device.ceilings, [])
        group.rows.append(row)
    for key, note in notes.items():
        if "scores" in note:
            device.runs.append({"environment": own or device.environment, **note})
        else:
            device.notes[key] = note


def read_results(folder: Path) -> list[Device]:
    """All devices, GPUs first."""
    devices = [read_device(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.exists() else []
    return sorted(
        (d for d in devices if d.groups or d.runs or d.notes or d.schedules), key=lambda d: (not d.is_gpu, d.slug)
    )
