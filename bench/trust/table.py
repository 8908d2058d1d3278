"""The counts of ``bench/results/trust.json`` as a section of RESULTS.md."""

from __future__ import annotations

from typing import Any

TITLES = {
    "kills": "SIGKILL at random instants of trainings, checkpoint writes included",
    "terminations": "SIGTERM at random instants of trainings",
    "ranks": "SIGKILL of one of two processes at random instants; torchrun --max-restarts 3 starts them anew",
    "faults": "failing operations on files, each in turn (no space, I/O error, no right, half a write, kill)",
    "mutations": "changed files of every kind that is read: refused in one line, or, under checksums, as written",
}
_FACTS = ("commit", "date", "device", "tracebacks")
INTRODUCTION = (
    "Written by `python -m bench.trust`. After each stop or fault the run directory was evaluated as it was, and "
    "continued; runs ended with the weights and moments of an unbroken run, bit by bit. A part that finds anything "
    "else ends without counts."
)


def trust_section(counts: dict[str, dict[str, Any]]) -> str:
    """A table with a row for each kind of harm; nothing where none was counted."""
    if not counts:
        return ""
    lines = ["## Trust\n", INTRODUCTION + "\n", "| harm | counts | tracebacks | commit | date |", "|" + "---|" * 5]
    for name, part in counts.items():
        counted = {key.replace("_", " "): _number(value) for key, value in part.items() if key not in _FACTS}
        facts = (_number(part.get(key, "")) for key in ("tracebacks", "commit", "date"))
        cells = (TITLES.get(name, name), ", ".join(map(" ".join, counted.items())), *facts)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
