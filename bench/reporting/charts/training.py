"""Scores of the training runs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bench.reporting.charts.style import whole_decades
from bench.reporting.compare import score_at_40
from bench.reporting.results_files import Device
from bench.reporting.schedule_tables import best_curves


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
        whole_decades(axes)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    return figure
