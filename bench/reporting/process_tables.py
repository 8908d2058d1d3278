"""Steps by several processes, as a table."""

from __future__ import annotations

from bench.reporting.results_files import Device
from bench.reporting.text import duration, number
from bench.rows import Row

GROUP = "scaling/processes"


def processes_table(device: Device) -> str:
    """The table of a device where this was measured."""
    return f"### Processes, one core each\n\n{table(device.groups[GROUP].timed)}"


def table(rows: list[Row]) -> str:
    """Step time, rate and efficiency of each case."""
    head = "| preset | scaling | processes | global batch | step (p20 to p80) | sequences/s | efficiency |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for row in rows:
        alone = next(r for r in rows if r.way == row.way and r.case["processes"] == 1)
        count, times = row.case["processes"], row.seconds
        spread = f"{duration(times['median'])} ({duration(times['p20'])} to {duration(times['p80'])})"
        efficiency = row.per_second / count / alone.per_second
        cells = (row.case["preset"], row.way, count, row.case["batch"], spread, number(row.per_second))
        lines.append("| " + " | ".join(map(str, cells)) + f" | {efficiency:.0%} |")
    return "\n".join(lines) + "\n"
