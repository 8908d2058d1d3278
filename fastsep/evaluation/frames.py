"""Figures of image sequences: truth, forecast and error; strips; swap grids.

Letters: S sequences, n conditioning frames, h forecast horizon; a frame is (C, H, W).
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fastsep.evaluation.style import (
    ERROR_MAP, Appearance, chosen_horizons, error_picture, limits_of, new_figure, picture,
)  # fmt: skip

_INCH = 1.15  # side of a frame


def forecast_figure(truth: Tensor, forecast: Tensor, appearance: Appearance) -> Figure:
    """Truth, forecast and absolute error (h, C, H, W) of one sequence at a handful of horizons."""
    horizons = chosen_horizons(len(truth))
    figure = new_figure(_INCH * len(horizons) + 1.6, 3 * _INCH + 0.75)
    axes = figure.subplots(3, len(horizons), squeeze=False)
    low, high = limits_of(truth, appearance)
    errors = [error_picture(forecast[k - 1], truth[k - 1]) for k in horizons]
    worst = max(float(error.max()) for error in errors) or 1.0
    for column, k in enumerate(horizons):
        axes[0, column].set_title(f"t+{k}")
        for row, frames in enumerate((truth, forecast)):
            shown = axes[row, column].imshow(picture(frames[k - 1]), cmap=appearance.colours, vmin=low, vmax=high)
        error = axes[2, column].imshow(errors[column], cmap=ERROR_MAP, vmin=0, vmax=worst)
    for name, row in zip(("truth", "forecast", "absolute error"), axes, strict=True):
        row[0].set_ylabel(name, fontsize=9.5)
        for axis in row:
            _bare(axis)
    if truth.shape[1] != 3:
        bar = figure.colorbar(shown, ax=axes[:2].ravel().tolist(), aspect=24, pad=0.02)
        bar.set_label(appearance.quantity)
    bar = figure.colorbar(error, ax=axes[2].tolist(), aspect=11, pad=0.02)
    bar.set_label("|error|")
    figure.suptitle(f"{appearance.title}: forecast at t+k, k {appearance.frame} after the last conditioning frame")
    return figure


def strips_figure(cond: Tensor, truth: Tensor, forecast: Tensor, appearance: Appearance) -> Figure:
    """Several sequences, truth above forecast: (S, n, C, H, W) conditioning frames and (S, h, C, H, W) twice."""
    sequences, n = cond.shape[:2]
    horizons = chosen_horizons(truth.shape[1])
    columns = n + len(horizons)
    figure = new_figure(0.78 * columns + 1.2, 2 * 0.82 * sequences + 0.95)
    panels = figure.subfigures(sequences, 1, hspace=0.04, squeeze=False)[:, 0]
    low, high = limits_of(truth, appearance)
    for s, panel in enumerate(panels):
        axes = panel.subplots(2, columns, squeeze=False)
        for axis in axes.ravel():
            _bare(axis)
        for j in range(n):
            axes[0, j].imshow(picture(cond[s, j]), cmap=appearance.colours, vmin=low, vmax=high)
            axes[1, j].set_visible(False)
        for j, k in enumerate(horizons, start=n):
            axes[0, j].imshow(picture(truth[s, k - 1]), cmap=appearance.colours, vmin=low, vmax=high)
            axes[1, j].imshow(picture(forecast[s, k - 1]), cmap=appearance.colours, vmin=low, vmax=high)
        axes[1, n].set_ylabel("forecast", fontsize=8)
        axes[0, 0].set_ylabel("truth", fontsize=8)
        if s == 0:
            for j in range(n):
                axes[0, j].set_title(f"t\u2212{n - 1 - j}" if j < n - 1 else "t", color="#777777")
            for j, k in enumerate(horizons, start=n):
                axes[0, j].set_title(f"t+{k}")
    figure.suptitle(f"{appearance.title}: {n} conditioning frames (t and before), then truth above forecast")
    return figure


def swap_figure(content: Tensor, motion: Tensor, swapped: Tensor, appearance: Appearance) -> Figure:
    """Content of one sequence with the motion of another, at one time.

    Args:
        content: (S, C, H, W), the last conditioning frame of each sequence that gives S (rows).
        motion: (S', k, C, H, W), true frames at the times shown of each sequence that gives T (columns).
        swapped: (S, S', k, C, H, W), the forecasts at those times.
    """
    rows, columns, times = swapped.shape[:3]
    low, high = limits_of(motion, appearance)
    figure = new_figure(_swap_width(columns, times), 0.8 * (rows + 1) + 0.95)
    axes = figure.subplots(
        rows + 1,
        1 + columns * (times + 1),
        squeeze=False,
        gridspec_kw={"width_ratios": [1.0] + ([0.22] + [1.0] * times) * columns},
    )
    for axis in axes.ravel():
        _bare(axis)
    for axis in [axes[0, 0], *axes[:, 1 :: times + 1].ravel()]:
        axis.set_visible(False)
    show = {"cmap": appearance.colours, "vmin": low, "vmax": high}
    for i in range(rows):
        axes[i + 1, 0].imshow(picture(content[i]), **show)
        _frame(axes[i + 1, 0], "#3b6ea5")
    for j in range(columns):
        first = 2 + j * (times + 1)
        axes[0, first].set_title(f"motion {j + 1}", loc="left", color="#7a9a3a", fontweight="bold")
        for k in range(times):
            axes[0, first + k].imshow(picture(motion[j, k]), **show)
            _frame(axes[0, first + k], "#7a9a3a")
            for i in range(rows):
                axes[i + 1, first + k].imshow(picture(swapped[i, j, k]), **show)
    axes[1, 0].set_title("content", color="#3b6ea5", fontweight="bold")
    figure.suptitle(f"{appearance.title}: static code S of the row, dynamic code T of the column")
    return figure


def _swap_width(columns: int, times: int) -> float:
    return 0.8 * (1 + columns * (times + 0.22)) + 0.4


def _bare(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def _frame(axis: Axes, colour: str) -> None:
    axis.spines[:].set_visible(True)
    axis.spines[:].set_color(colour)
    axis.spines[:].set_linewidth(2)
