"""Charts of one device's results."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bench.results_files import Device, Group
from bench.rows import Row, baseline, baseline_seconds, speedup
from bench.scaling import AXES, exponent
from bench.schedule_tables import best_curves

COLOURS = {"reference": "#7f8790", "reference compiled": "#b3bac2", "fastsep": "#d1495b", "fastsep captured": "#8d2741"}
AXIS_LABELS = {
    "batch": "batch of a wave100 step", "grid": "grid side, wave generation", "horizon": "horizon of a wave forecast",
    "sequences": "sequences generated",
}  # fmt: skip


HEADLINES = ("step", "generate", "rollout", "forecast", "conv_block", "call_norm", "metrics", "data")
ROLLOUT_CASE = {"batch": 128, "steps": 25, "pass": "fwd+bwd"}


def draw_all(device: Device, folder: Path) -> list[Path]:
    """Every chart that the results allow, as PNGs in ``folder``."""
    plt.rcParams.update({
        "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.color": "#e6e8eb", "axes.axisbelow": True, "legend.frameon": False, "figure.dpi": 110,
    })  # fmt: skip
    charts = {
        "speedup": speedups, "roofline": roofline, "scaling": scaling_panels, "forecast": forecasts,
        "rollout": rollouts, "training": training,
    }  # fmt: skip
    paths = []
    for name, draw in charts.items():
        figure = draw(device)
        if figure is None:
            continue
        figure.text(0.99, -0.01, _caption(device), ha="right", va="top", fontsize=7, color="#7f8790")
        path = folder / f"{name}.png"
        figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
        paths.append(path)
    return paths


def _caption(device: Device) -> str:
    facts = device.environment
    return f"{device.name} · torch {facts['versions']['torch']} · {facts['commit']} · {facts['date'][:10]}"


def _task(row: Row) -> str:
    """A bar's or a point's label."""
    case = " ".join(str(v) if k in ("preset", "pass") else f"{k} {v}" for k, v in row.case.items() if k != "sequences")
    return f"{row.group} {case}".strip()


def number(value: float) -> str:
    """Three significant digits, without an exponent where they suffice."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def rate(value: float) -> str:
    """Three significant digits with a prefix: 4.3e12 is ``4.3 T``."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}"
    return f"{value:.3g} "


def _whole_decades(axes: Axes) -> None:
    """Widen a logarithmic y axis to whole powers of ten, so that its labels stay few."""
    low, high = axes.get_ylim()
    axes.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _colour(way: str) -> str:
    if way.startswith("fastsep"):
        return COLOURS["fastsep captured" if "captured" in way else "fastsep"]
    return COLOURS["reference compiled" if "compiled" in way or "captured" in way else "reference"]


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
    axes.barh(y, [bar[1] for bar in bars], 0.62, color=[_colour(bar[2].way) for bar in bars])
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
        axes.plot(x, y, marks.get(group.name, "o"), color=_colour(row.way), ms=8, mec="white", mew=0.6)
    for name, mark in marks.items():
        if any(group.name == name for group, _, _ in points):
            axes.plot([], [], mark, color="#30363d", label=name, ls="none")
    for way in ("reference", "fastsep", "fastsep captured"):
        if any(_colour(row.way) == COLOURS[way] for _, row, _ in points):
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
        axes.plot(x, y, "o-", color=_colour(way), label=label, ms=4)
        if value == "seconds":
            axes.fill_between(x, [r.seconds["p20"] for r in mine], [r.seconds["p80"] for r in mine],
                              color=_colour(way), alpha=0.2, lw=0)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    if axes.lines:
        values = sorted({row.case[key] for row in rows})
        axes.set_xticks(values, [str(value) for value in values], fontsize=8)
        axes.xaxis.set_minor_formatter(NullFormatter())
        _whole_decades(axes)
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
        _whole_decades(axes)
        axes.set_xlabel("batch")
        axes.set_title(f"25 steps, 3 blocks, {direction}", loc="left", fontsize=10)
    grid[0].set_ylabel("time [µs]")
    grid[1].legend(fontsize=8)
    return figure


def training(device: Device) -> Figure | None:
    """Scores of the training runs: error by horizon, and the score at t+40 against the step."""
    runs = [run for run in device.runs if run.get("scores")]
    if not runs:
        return None
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
    for k, name in enumerate(dict.fromkeys(run["run"] for run in runs)):
        mine = [run for run in runs if run["run"] == name]
        ends = [run["scores"][-1] for run in mine]
        last = max(end["step"] for end in ends)
        ends = [end for end in ends if end["step"] == last]  # none that was told to end earlier
        curves = np.array([end["metrics"]["curves"]["model"]["mse"] for end in ends])  # (runs, horizon)
        frames = np.arange(1, curves.shape[1] + 1)
        colour = plt.cm.tab10(k)
        label = f"{name}, {len(ends)} seed{'s' if len(ends) > 1 else ''}"
        left.plot(frames, curves.mean(0), color=colour, label=label)
        left.fill_between(frames, curves.min(0), curves.max(0), color=colour, alpha=0.2, lw=0)
        for run in mine:
            steps = [score["step"] for score in run["scores"]]
            right.plot(steps, [score_at_40(score) for score in run["scores"]], "o-", color=colour, ms=4)
    drawn = set()
    for run in runs:
        persistence = run["scores"][-1]["metrics"]["curves"].get("persistence", {}).get("mse")
        if persistence and run["dataset"] not in drawn:
            drawn.add(run["dataset"])
            left.plot(np.arange(1, len(persistence) + 1), persistence, "--", color="#7f8790", lw=1)
    for k, (name, curve) in enumerate(best_curves(device)):
        label = name.replace("`", "")
        left.plot(np.arange(1, len(curve) + 1), curve, ":", color=plt.cm.tab10(9 - k), lw=2, label=label)
    left.plot([], [], "--", color="#7f8790", lw=1, label="persistence")
    left.set_xlabel("frame of the forecast")
    left.set_ylabel("MSE of the frame")
    right.set_xlabel("training step")
    right.set_ylabel("MSE at t+40")
    for axes in (left, right):
        axes.set_yscale("log")
        _whole_decades(axes)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    return figure


def score_at_40(score: dict) -> float:
    """MSE at t+40 (the mean over the predicted frames 1..40), or at the longest horizon scored."""
    values = score["metrics"]["scores"]["model"]["mse"]
    return values.get("40", values[max(values, key=int)])
