"""Figures of sequences seen at points: everything over time at once, and a handful of points as curves.

Letters: P points, n conditioning frames, h forecast horizon.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fastsep.data.appearance import Appearance
from fastsep.drawing.style import ERROR_MAP, FORECAST, TRUTH, limits_of, new_figure

_SERIES = 6


def by_course(truth: Tensor) -> np.ndarray:
    """An order of the points (h, 1, P) in which those that do alike lie together, so that waves are seen: (P,)."""
    course = truth[:, 0].T.float().cpu().numpy()  # (P, h)
    return np.argsort(np.linalg.svd(course - course.mean(), full_matrices=False)[0][:, 0])


def heatmap_figure(cond: Tensor, truth: Tensor, forecast: Tensor, appearance: Appearance) -> Figure:
    """Truth, forecast and error as images of points over time: (n, 1, P), then (h, 1, P) twice."""
    before, true, predicted = (x[:, 0].T.float().cpu().numpy() for x in (cond, truth, forecast))  # (P, time)
    order = by_course(truth)
    before, true, predicted = before[order], true[order], predicted[order]
    n, horizon, points = before.shape[1], true.shape[1], len(true)
    low, high = limits_of(truth, appearance)
    figure = new_figure(9.6, 3.6)
    axes = figure.subplots(1, 3, sharey=True)
    figure.get_layout_engine().set(wspace=0.08)  # or a bar's label reads as that of the panel beside it
    extent = (0.5 - n, horizon + 0.5, points + 0.5, 0.5)
    for axis, name, future in ((axes[0], "truth", true), (axes[1], "forecast", predicted)):
        shown = axis.imshow(
            np.concatenate([before, future], axis=1), cmap=appearance.colours, vmin=low, vmax=high, aspect="auto",
            extent=extent,
        )  # fmt: skip
        axis.axvline(0.5, color="white", linewidth=1.2, linestyle="--")
        axis.set_title(name)
    worst = float(np.abs(predicted - true).max()) or 1.0
    error = axes[2].imshow(
        np.abs(predicted - true), cmap=ERROR_MAP, vmin=0, vmax=worst, aspect="auto",
        extent=(0.5, horizon + 0.5, points + 0.5, 0.5),
    )  # fmt: skip
    axes[2].set_xlim(0.5 - n, horizon + 0.5)
    axes[2].set_title("absolute error")
    axes[0].set_ylabel("points, sorted by their course")
    for axis in axes:
        axis.set_xlabel(f"time [{appearance.step}]")
    figure.colorbar(shown, ax=axes[1], pad=0.03, aspect=28).set_label(appearance.quantity)
    figure.colorbar(error, ax=axes[2], pad=0.03, aspect=28).set_label(appearance.error)
    figure.suptitle(
        f"{appearance.title}: {points} points of one sequence (conditioning frames left of the dashed line)"
    )
    return figure


def series_figure(
    cond: Tensor, truth: Tensor, forecast: Tensor, appearance: Appearance, numbers: Sequence[int] | None = None
) -> Figure:
    """A handful of points of one sequence as curves: (n, 1, P), then (h, 1, P) twice.

    Args:
        numbers: of the points, where these are not all that a frame has.
    """
    before, true, predicted = (x[:, 0].float().cpu() for x in (cond, truth, forecast))  # (time, P)
    n, horizon = len(before), len(true)
    # Points from the quietest to the liveliest.
    liveliness = true.std(0, unbiased=False).argsort()
    chosen = liveliness[torch.linspace(0.15 * len(liveliness), len(liveliness) - 1, _SERIES).long()].tolist()
    figure = new_figure(8.4, 4.4)
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    past, future = range(1 - n, 1), range(1, horizon + 1)
    for axis, point in zip(axes.ravel(), chosen, strict=True):
        axis.axvspan(0.5 - n, 0.5, color="#eeeeee", linewidth=0)
        axis.plot([*past, *future], torch.cat([before[:, point], true[:, point]]), color=TRUTH, label="truth")
        axis.plot(future, predicted[:, point], color=FORECAST, linestyle=(0, (4, 1.5)), label="forecast")
        axis.set_title(f"point {point if numbers is None else numbers[point]}")
        axis.set_xlim(0.5 - n, horizon + 0.5)
    for axis in axes[1]:
        axis.set_xlabel(f"time [{appearance.step}]")
    figure.supylabel(appearance.quantity, fontsize=9)
    figure.suptitle(f"{appearance.title}: six points of one sequence (grey: conditioning frames)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
