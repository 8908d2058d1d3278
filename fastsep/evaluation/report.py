"""Scores as a table of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastsep.drawing.style import chosen_horizons


def print_scores(result: dict[str, Any]) -> None:
    """Print the scores of ``evaluate_run``; they are there before its files are."""
    print(format_report(result), flush=True)


def print_files(run: Path, result: dict[str, Any]) -> None:
    """Print where the files of ``evaluate_run`` lie."""
    for name in ("metrics.json", *result.get("figures", ())):
        print(run / name)


def format_report(result: dict[str, Any]) -> str:
    """The scores as text: published means over the horizon, then single frames, then swaps."""
    weights = f", weights averaged over steps with decay {result['ema']:g}" if result.get("ema") is not None else ""
    kind = "" if result.get("whole") else "test "
    best = ", the best in validation" if result.get("best") else ""
    head = f"{result['dataset']}, step {result['step']:,}{best}{weights}: {result['windows']:,} {kind}windows"
    parts = [head + (f", {result['data']}" if result["data"] else "")]
    horizons = list(result["scores"]["model"][next(iter(result["labels"]))])
    parts.append(table("mean over the frames up to", [f"t+{k}" for k in horizons], _rows(result, "scores", horizons)))
    alone = chosen_horizons(result["horizon"])
    parts.append(table("one frame alone, at", [f"t+{k}" for k in alone], _rows(result, "curves", alone)))
    if "swap" in result:
        rows = [
            (
                [result["labels"][name], "content and motion of two sequences"],
                [number(value) for value in values.values()],
            )
            for name, values in result["swap"].items()
        ]
        parts.append(table("swapped, mean over the frames up to", [f"t+{k}" for k in horizons], rows))
    total = sum(result["seconds"].values())
    shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in result["seconds"].items())
    parts.append(f"evaluated in {total:.3g} s: {shares}")
    return "\n\n".join(parts)


def _rows(result: dict[str, Any], kind: str, horizons: list[Any]) -> list[tuple[list[str], list[str]]]:
    rows = []
    for name, label in result["labels"].items():
        for predictor, scores in result[kind].items():
            if name in scores:
                values = [scores[name][k] if kind == "scores" else scores[name][k - 1] for k in horizons]
                rows.append(([label, predictor], [number(value) for value in values]))
    return rows


def table(title: str, columns: list[str], rows: list[tuple[list[str], list[str]]]) -> str:
    """A title, a header and rows: two names, then numbers; a first name is written once for equal neighbours."""
    cells = [[title, "", *columns]]
    last = ""
    for (label, predictor), values in rows:
        cells.append(["  " + label if label != last else "", predictor, *values])
        last = label
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        text = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join([*text, *numbers]).rstrip())
    return "\n".join(lines)


def number(value: float) -> str:
    """In as many digits as tell something."""
    return f"{value:.2e}" if 0 < abs(value) < 0.01 or abs(value) >= 1e5 else f"{value:.4g}"
