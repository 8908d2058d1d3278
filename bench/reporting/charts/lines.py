"""Time and memory against a size: batch, grid, horizon, number of sequences."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bench.reporting.charts.style import colour, whole_decades
from bench.reporting.results_files import Device
from bench.rows import Row
from bench.scaling import AXES, exponent

AXIS_LABELS = {
    "batch": "batch of a wave100 step", "grid": "grid side, wave generation", "horizon": "horizon of a wave forecast",
    "sequences": "sequences generated",
}  # fmt: skip


def _lines(axes: Axes, rows: list[Row], key: str, value: str) -> None:
    """Log-log lines of ``value`` against ``case[key]``, one a way."""
    for way in dict.fromkeys(row.way for row in rows):
        mine = [row for row in rows if row.way == way and (row.seconds if value == "seconds" else row.peak_bytes)]
        x = [row.case[key] for row in mine]
        y = [row.seconds["median"] if value == "seconds" else row.peak_bytes / 2**20 for row in mine]
        if not x:
            continue
        p = exponent(x, y)
        label = f"{way}: $\\propto x^{{{p:.2f}}}$" if p is not None else way
        axes.plot(x, y, "o-", color=colour(way), label=label, ms=4)
        if value == "seconds":
            axes.fill_between(x, [r.seconds["p20"] for r in mine], [r.seconds["p80"] for r in mine],
                              color=colour(way), alpha=0.2, lw=0)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    if axes.lines:
        values = sorted({row.case[key] for row in rows})
        axes.set_xticks(values, [str(value) for value in values], fontsize=8)
        axes.xaxis.set_minor_formatter(NullFormatter())
        whole_decades(axes)
        axes.legend(fontsize=8)


def scaling_panels(device: Device) -> Figure | None:
    """Time and memory along every axis, with fitted exponents."""
    groups = [(axis, device.groups.get(f"scaling/{axis}")) for axis in AXES]
    groups = [(axis, group) for axis, group in groups if group and group.timed]
    if not groups:
        return None
    figure, grid = plt.subplots(2, len(groups), figsize=(3.4 * len(groups), 5.6), squeeze=False, layout="constrained")
    for column, (axis, group) in enumerate(groups):
        for row, value in enumerate(("seconds", "memory")):
            axes = grid[row, column]
            _lines(axes, group.timed, axis, value)
            if not axes.lines:
                axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
        grid[1, column].set_xlabel(AXIS_LABELS[axis])
    grid[0, 0].set_ylabel("time [s]")
    grid[1, 0].set_ylabel("peak memory of a call [MiB]")
    return figure


def forecasts(device: Device) -> Figure | None:
    """Time of a forecast against its horizon."""
    group = device.groups.get("forecast")
    if not group or not group.timed:
        return None
    presets = list(dict.fromkeys(row.case["preset"] for row in group.timed))
    figure, grid = plt.subplots(1, len(presets), figsize=(4.2 * len(presets), 3.4), squeeze=False, layout="constrained")
    for axes, preset in zip(grid[0], presets, strict=True):
        rows = [row for row in group.timed if row.case["preset"] == preset and row.precision == "fp32"]
        _lines(axes, [row for row in rows if "compiled" not in row.way], "horizon", "seconds")
        axes.set_title(f"{preset}, batch {rows[0].case['batch']}, fp32", loc="left", fontsize=10)
        axes.set_xlabel("horizon [frames]")
    grid[0, 0].set_ylabel("time of a forecast [s]")
    return figure


def rollouts(device: Device) -> Figure | None:
    """Time of a rollout of 25 steps against the batch, in every way; only where several batches were measured."""
    group = device.groups.get("rollout")
    rows = [r for r in group.timed if r.case["steps"] == 25 and "compiled" not in r.way] if group else []
    if len({row.case["batch"] for row in rows}) < 2:
        return None
    figure, grid = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for axes, direction in zip(grid, ("fwd", "fwd+bwd"), strict=True):
        mine = [row for row in rows if row.case["pass"] == direction]
        for k, way in enumerate(dict.fromkeys((row.way, row.precision) for row in mine)):
            line = sorted((r for r in mine if (r.way, r.precision) == way), key=lambda r: r.case["batch"])
            axes.plot([r.case["batch"] for r in line], [r.seconds["median"] * 1e6 for r in line], "o-", ms=4,
                      color=plt.cm.tab10(k), label=" ".join(way))  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        batches = sorted({row.case["batch"] for row in mine})
        axes.set_xticks(batches, [str(batch) for batch in batches])
        whole_decades(axes)
        axes.set_xlabel("batch")
        axes.set_title(f"25 steps, 3 blocks, {direction}", loc="left", fontsize=10)
    grid[0].set_ylabel("time [µs]")
    grid[1].legend(fontsize=8)
    return figure
