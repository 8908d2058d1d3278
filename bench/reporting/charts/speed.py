"""How much faster than the reference, and how near to what the device can do."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bench.reporting.charts.style import COLOURS, colour
from bench.reporting.compare import best, tasks
from bench.reporting.results_files import Device, Group
from bench.reporting.text import number, rate
from bench.rows import Row, baseline_seconds, speedup


def speedups(device: Device) -> Figure | None:
    """Items a second over the naive float32 reference, best way of each."""
    bars = []
    for task, rows in tasks(device):
        fast, graph = best(rows, "fastsep"), best([r for r in rows if r.way != "reference"], "reference")
        if fast:
            bars.append((task, speedup(fast, rows), fast, speedup(graph, rows) if graph else None))
    if not bars:
        return None
    bars.sort(key=lambda bar: bar[1])
    figure, axes = plt.subplots(figsize=(8.5, 0.3 * len(bars) + 1.2), layout="constrained")
    y = np.arange(len(bars))
    axes.barh(y, [bar[1] for bar in bars], 0.62, color=[colour(bar[2].way) for bar in bars])
    for k, (_, gain, fast, compiled) in enumerate(bars):
        text = f" {number(gain)}x {fast.way.removeprefix('fastsep').strip()} {fast.precision}".replace("  ", " ")
        axes.text(max(gain, 1), k, text, va="center", fontsize=8)
        if compiled:
            axes.plot([compiled, compiled], [k - 0.36, k + 0.36], color="black", lw=1.6)
    if any(bar[3] for bar in bars):
        axes.plot([], [], color="black", lw=1.6, label="reference, compiled or captured: the best")
        axes.legend(loc="lower right", fontsize=8)
    axes.axvline(1, color=COLOURS["reference"], lw=1)
    axes.set_yticks(y, [bar[0] for bar in bars], fontsize=8)
    axes.set_ylim(-0.7, len(bars) - 0.3)
    axes.set_xscale("log")
    longest = max(bar[1] for bar in bars)
    axes.set_xlim(min(0.8, 0.8 * min(bar[1] for bar in bars)), longest**1.25 * 3)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.set_xlabel("sequences a second over the naive eager float32 reference")
    axes.set_title("fastsep, its fastest way", loc="left", fontsize=11)
    axes.grid(False, axis="y")
    return figure


def roofline(device: Device) -> Figure | None:
    """Arithmetic rate against intensity, both of the work that the task needs, under its runs' best ceilings."""
    groups = [group for group in (*device.matching("step"), *device.matching("rollout")) if group.ceilings]
    points = [(g, row, seconds) for g in groups for row, seconds in _fullest(g) if row.flops and row.bytes]
    if not points:
        return None
    best_rates = {name: max(group.ceilings.get(name, 0.0) for group in groups) for name in groups[0].ceilings}
    figure, axes = plt.subplots(figsize=(8.5, 4.8), layout="constrained")
    intensity = np.logspace(0, 5, 200)
    for precision, style in (("bf16", "-"), ("fp32", "--")):
        top = best_rates.get(f"matmul_{precision}")
        if top is None:
            continue
        axes.plot(intensity, np.minimum(intensity * best_rates["copy"], top), style, color="#30363d", lw=1.3)
        axes.text(intensity[-1], top * 1.08, f"{precision} product {rate(top)}FLOP/s", ha="right", fontsize=8)
    axes.text(1.8, best_rates["copy"], f"copy {rate(best_rates['copy'])}B/s", fontsize=8, va="center")
    marks = {"step/wave": "o", "step/wave100": "s", "step/mnist": "^", "step/chairs": "v", "step/taxibj": "D",
             "step/sst": "P", "rollout": "X"}  # fmt: skip
    for group, row, seconds in points:
        x, y = row.flops / row.bytes, row.flops / seconds
        axes.plot(x, y, marks.get(group.name, "o"), color=colour(row.way), ms=8, mec="white", mew=0.6)
    for name, mark in marks.items():
        if any(group.name == name for group, _, _ in points):
            axes.plot([], [], mark, color="#30363d", label=name, ls="none")
    for way in ("reference", "fastsep", "fastsep captured"):
        if any(colour(row.way) == COLOURS[way] for _, row, _ in points):
            axes.plot([], [], "o", color=COLOURS[way], label=way, ls="none")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("FLOP for each byte that must move (Adam's state and the batch, once)")
    axes.set_ylabel("FLOP/s that the task needs, over its time")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.set_title("Training steps and rollout under the measured ceilings", loc="left", fontsize=11)
    return figure


def _fullest(group: Group) -> list[tuple[Row, float]]:
    """The naive reference and the fastest row of the group's first measured task, with their times."""
    case = group.timed[0].case
    rows = [row for row in group.timed if row.case == case]
    slow, fast = best([r for r in rows if r.way == "reference"], "reference"), best(rows, "fastsep")
    found = [(fast, fast.seconds["median"])] if fast else []
    if slow:
        beside = fast is not None and slow.precision == "fp32"
        found.append((slow, baseline_seconds(fast, slow) if beside else slow.seconds["median"]))
    return found
