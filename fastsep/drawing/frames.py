"""Figures of image sequences: truth, forecast and error; strips; swap grids.

Letters: S sequences, n conditioning frames, h forecast horizon; a frame is (C, H, W).
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from fastsep.data.appearance import Appearance
from fastsep.drawing.mosaic import Mosaic
from fastsep.drawing.style import (
    ERROR_MAP,
    chosen_horizons,
    error_picture,
    largest,
    limits_of,
    new_figure,
    picture,
)

_INCH = 1.15  # side of a frame
_SMALL_INCH = 0.8
_CONTENT, _MOTION = "#3b6ea5", "#5f8a1f"


def forecast_figure(truth: Tensor, forecast: Tensor, appearance: Appearance) -> Figure:
    """Truth, forecast and absolute error (h, C, H, W) of one sequence at a handful of horizons."""
    horizons = chosen_horizons(len(truth))
    frames, errors = (Mosaic(rows, len(horizons), shape=truth.shape) for rows in (2, 1))
    low, high = limits_of(truth, appearance)
    for column, k in enumerate(horizons):
        frames.put(0, column, picture(truth[k - 1]))
        frames.put(1, column, picture(forecast[k - 1]))
        errors.put(0, column, error_picture(forecast[k - 1], truth[k - 1]))
    worst = largest(np.stack(errors.frames()))
    width, height = frames.size
    figure = new_figure(_INCH * width + 1.5, _INCH * (height + errors.size[1]) + 0.9)
    above, below = figure.subplots(2, 1, height_ratios=(height, errors.size[1]))
    shown = frames.draw(above, appearance.colours, low, high)
    frames.label_columns(above, {column: f"t+{k}" for column, k in enumerate(horizons)})
    frames.label(above, 0, 0, "truth")
    frames.label(above, 1, 0, "forecast")
    error = errors.draw(below, ERROR_MAP, 0, worst)
    errors.label(below, 0, 0, "absolute error")
    if truth.shape[1] != 3:
        figure.colorbar(shown, ax=above, aspect=24, pad=0.015).set_label(appearance.quantity)
    figure.colorbar(error, ax=below, aspect=11, pad=0.015).set_label(appearance.error)
    figure.suptitle(f"{appearance.title}: forecast at t+k, k {appearance.step} after the last conditioning frame")
    return figure


def strips_figure(cond: Tensor, truth: Tensor, forecast: Tensor, appearance: Appearance) -> Figure:
    """Several sequences, truth above forecast: (S, n, C, H, W) conditioning frames and (S, h, C, H, W) twice."""
    sequences, n = cond.shape[:2]
    horizons = chosen_horizons(truth.shape[1])
    mosaic = Mosaic(2 * sequences, n + len(horizons), tuple(range(2, 2 * sequences, 2)), (n,), truth.shape)
    for s in range(sequences):
        for j in range(n):
            mosaic.put(2 * s, j, picture(cond[s, j]))
        for j, k in enumerate(horizons, start=n):
            mosaic.put(2 * s, j, picture(truth[s, k - 1]))
            mosaic.put(2 * s + 1, j, picture(forecast[s, k - 1]))
    figure = new_figure(_SMALL_INCH * mosaic.size[0] + 1.2, _SMALL_INCH * mosaic.size[1] + 0.7)
    axes = figure.subplots()
    _with_bar(figure, mosaic.draw(axes, appearance.colours, *limits_of(truth, appearance)), cond, appearance)
    before = {j: "t" if j == n - 1 else f"t\u2212{n - 1 - j}" for j in range(n)}
    mosaic.label_columns(axes, before | {j: f"t+{k}" for j, k in enumerate(horizons, start=n)})
    for s in range(sequences):
        mosaic.label(axes, 2 * s, 0, "truth")
        mosaic.label(axes, 2 * s + 1, n, "forecast")
    figure.suptitle(f"{appearance.title}: {n} conditioning frames (up to t), then truth above forecast")
    return figure


def swap_figure(content: Tensor, motion: Tensor, swapped: Tensor, times: list[int], appearance: Appearance) -> Figure:
    """Content of one sequence with the motion of another.

    Args:
        content: (S, C, H, W), the last conditioning frame of each sequence that gives S (rows).
        motion: (S', k, C, H, W), true frames at the times shown of each sequence that gives T (columns).
        swapped: (S, S', k, C, H, W), the forecasts at those times.
        times: the k horizons shown.
    """
    rows, columns, count = swapped.shape[:3]
    firsts = [1 + j * count for j in range(columns)]
    mosaic = Mosaic(rows + 1, 1 + columns * count, (1,), tuple(firsts), swapped.shape)
    for i in range(rows):
        mosaic.put(i + 1, 0, picture(content[i]))
    for j, first in enumerate(firsts):
        for k in range(count):
            mosaic.put(0, first + k, picture(motion[j, k]))
            for i in range(rows):
                mosaic.put(i + 1, first + k, picture(swapped[i, j, k]))
    figure = new_figure(_SMALL_INCH * mosaic.size[0] + 1.2, _SMALL_INCH * mosaic.size[1] + 0.7)
    axes = figure.subplots()
    _with_bar(figure, mosaic.draw(axes, appearance.colours, *limits_of(motion, appearance)), motion, appearance)
    for first in firsts:
        mosaic.label(axes, 0, first, "motion", color=_MOTION, fontweight="bold")
        mosaic.label_columns(axes, {first + k: f"t+{times[k]}" for k in range(count)})
        for k in range(count):
            mosaic.outline(axes, 0, first + k, _MOTION)
    for i in range(rows):
        mosaic.label(axes, i + 1, 0, "content", color=_CONTENT, fontweight="bold")
        mosaic.outline(axes, i + 1, 0, _CONTENT)
    figure.suptitle(f"{appearance.title}: static code S of the row's sequence, dynamic code T of the column's")
    return figure


def _with_bar(figure: Figure, image: AxesImage, frames: Tensor, appearance: Appearance) -> None:
    if frames.shape[-3] != 3:
        figure.colorbar(image, ax=image.axes, aspect=20, pad=0.015, shrink=0.6).set_label(appearance.quantity)
