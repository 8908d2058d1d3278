"""Which rows can be compared, and which of them is the best."""

from __future__ import annotations

from bench.reporting.results_files import Device
from bench.rows import Row, baseline

HEADLINES = ("step", "generate", "rollout", "forecast", "conv_block", "call_norm", "metrics", "data")
ROLLOUT_CASE = {"batch": 128, "steps": 25, "pass": "fwd+bwd"}


def best(rows: list[Row], start: str) -> Row | None:
    """The fastest of the rows whose way starts with ``start``."""
    timed = [row for row in rows if row.seconds and row.way.startswith(start)]
    return max(timed, key=lambda row: row.per_second or 0, default=None)


def tasks(device: Device) -> list[tuple[str, list[Row]]]:
    """Rows that can be compared, by task, in the order of ``HEADLINES``; of the rollout only the wave presets' size.

    Layers alone are left to the tables.
    """
    found: dict[str, list[Row]] = {}
    for start in HEADLINES:
        for group in device.matching(start):
            for row in group.timed:
                if "layer" not in row.case and (row.group != "rollout" or row.case == ROLLOUT_CASE):
                    found.setdefault(_task(row), []).append(row)
    return [(task, rows) for task, rows in found.items() if baseline(rows[0], rows)]


def _task(row: Row) -> str:
    """A bar's or a point's label."""
    case = " ".join(str(v) if k in ("preset", "pass") else f"{k} {v}" for k, v in row.case.items() if k != "sequences")
    return f"{row.group} {case}".strip()


def score_at_40(score: dict) -> float:
    """MSE at t+40 (the mean over the predicted frames 1..40), or at the longest horizon scored."""
    values = score["metrics"]["scores"]["model"]["mse"]
    return values.get("40", values[max(values, key=int)])
