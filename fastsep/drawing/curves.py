"""Figures that are curves: error against horizon, the trajectory of T, the course of training."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from fastsep.data.appearance import Appearance, plain
from fastsep.drawing.style import new_figure

_COLUMNS, _PANELS = 4, 8
_TERMS = {
    "total": ("total", "#222222"),
    "prediction": ("prediction", "#c8442b"),
    "ae": ("auto-encoding", "#3b6ea5"),
    "s_invariance": ("invariance of S", "#7a9a3a"),
    "t_regularisation": ("regularisation of T", "#9a6fb0"),
}


def error_figure(
    curves: dict[str, dict[str, list[float]]], labels: dict[str, str], windows: int, appearance: Appearance
) -> Figure:
    """Each score against the horizon, one panel a score (the first eight), every predictor that has it."""
    names = list(curves["model"])[:_PANELS]
    rows = -(-len(names) // _COLUMNS)
    figure = new_figure(min(3.8 * len(names) + 1.6, 11.5), 3.0 * rows + 0.5)
    axes = figure.subplots(rows, min(len(names), _COLUMNS), squeeze=False).ravel()
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes, names, strict=False):
        for (predictor, scores), colour in zip(curves.items(), colours_of(len(curves)), strict=True):
            if name not in scores:
                continue
            values = scores[name]
            marker = "o" if len(values) <= 12 else None
            axis.plot(
                range(1, len(values) + 1), values, color=colour, label=predictor, marker=marker, markersize=3.5
            )  # fmt: skip
        label_horizon(axis, labels[name], appearance.step)
    if len(curves) > 1:
        axes[0].legend(loc="best")
    figure.suptitle(f"{appearance.title}: the frame at t+k, mean over {windows:,} test windows")
    return figure


def label_horizon(axis: Axes, label: str, step: str) -> None:
    """Axes of a score, called ``label``, against the horizon, counted in ``step``."""
    if "MSE" in label:
        axis.set_yscale("log")
    axis.set_xlabel(f"horizon k [{step}]")
    axis.set_ylabel(plain(label.replace(", ", "\n")))
    axis.grid(True, which="major", axis="y")
    axis.set_xlim(left=0)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def latent_figure(trajectory: Tensor, offset: int, appearance: Appearance) -> Figure:
    """The dynamic code T over time, along the directions in which it moves most.

    Args:
        trajectory: (frames, sequences, L, ...), T_0 first.
        offset: frames of it that reconstruct the conditioning frames.
    """
    codes = trajectory.detach().float().flatten(2).cpu()  # (frames, sequences, L)
    frames, sequences, size = codes.shape
    flat = codes.reshape(-1, size)
    _, strengths, directions = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    share = (strengths.square() / strengths.square().sum().clamp_min(1e-30)).tolist()
    kept = min(3, len(strengths))
    parts = ((codes - flat.mean(0)) @ directions[:kept].T).numpy()  # (frames, sequences, kept)
    figure = new_figure(9.4, 3.9)
    left, right = figure.subplots(1, 2)
    colours = colours_of(sequences)
    for s in range(sequences):
        x, y = parts[:, s, 0], parts[:, s, min(1, kept - 1)]
        left.plot(x, y, color=colours[s], linewidth=1.1, marker=".", markersize=3)
        left.plot(x[0], y[0], marker="o", markersize=6, color=colours[s], markeredgecolor="black", linestyle="none")
    left.plot([], [], "o", color="white", markeredgecolor="black", label="T\u2080")
    left.set_xlabel(f"component 1 ({share[0]:.0%} of the variance)")
    left.set_ylabel(f"component {min(2, kept)} ({share[min(1, kept - 1)]:.0%})")
    left.set_title(f"phase plane, {sequences} test sequences")
    time = np.arange(frames) - offset + 1
    for c, (line, colour) in enumerate(zip(("-", "--", ":"), ("#222222", "#666666", "#999999"), strict=True)):
        if c < kept:
            right.plot(time, parts[:, 0, c], color=colour, linestyle=line, label=f"component {c + 1}")
    if offset:
        right.axvspan(time[0] - 0.5, 0.5, color="#eeeeee", linewidth=0)
    right.set_xlim(time[0] - 0.5, time[-1] + 0.5)
    right.set_xlabel(f"time after the last conditioning frame [{appearance.step}]")
    right.set_ylabel("component")
    right.set_title("the red sequence over time" + (" (grey: conditioning frames)" if offset else ""))
    right.grid(True, axis="y")
    figure.legend(loc="outside lower center", ncols=kept + 1)
    figure.suptitle(f"{appearance.title}: trajectory of the dynamic code T ({size:,} numbers) in principal components")
    return figure


def training_figure(rows: list[dict[str, float | str]], title: str) -> Figure:
    """Loss terms, learning rate and speed against the step, from the rows of a run's log."""
    steps = [row["step"] for row in rows]
    figure = new_figure(9.4, 3.7)
    losses, rates = figure.subplots(1, 2, width_ratios=(1.7, 1))
    for name, (label, colour) in _TERMS.items():
        values = [row.get(name, "") for row in rows]
        if any(isinstance(v, float) and v > 0 for v in values):
            width = 1.9 if name == "total" else 1.2
            losses.plot(steps, [_number(v) for v in values], color=colour, label=label, linewidth=width)
    tested = [(row["step"], row["test_mse"]) for row in rows if isinstance(row.get("test_mse"), float)]
    if tested:
        losses.plot(*zip(*tested, strict=True), "s", color="#e0a020", markersize=4, label="test MSE", linestyle="none")
    losses.set_yscale("log")
    losses.set_xlabel("step")
    losses.set_ylabel("loss (terms before weighting)")
    losses.grid(True, axis="y")
    figure.legend(loc="outside lower center", ncols=6)
    rates.plot(steps, [_number(row["lr"]) for row in rows], color="#555555")
    rates.set_xlabel("step")
    rates.xaxis.set_major_locator(MaxNLocator(4))  # labels of five digits stay apart
    rates.set_ylabel("learning rate")
    rates.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    rates.set_ylim(bottom=0)
    rates.grid(True, axis="y")
    figure.suptitle(title)
    return figure


def _number(value: float | str) -> float:
    return float(value) if value != "" else float("nan")


def colours_of(count: int) -> list[str]:
    """Colours of so many lines, which come again after eight."""
    palette = ["#c8442b", "#3b6ea5", "#7a9a3a", "#9a6fb0", "#e0a020", "#4aa6a6", "#8c564b", "#555555"]
    return [palette[i % len(palette)] for i in range(count)]
