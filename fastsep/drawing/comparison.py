"""Scores of several groups of runs against the horizon."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure

from fastsep.data.appearance import plain
from fastsep.drawing.curves import colours_of, label_horizon
from fastsep.drawing.style import new_figure

_PANELS, _LETTERS = 4, 56


def comparison_figure(
    title: str,
    labels: dict[str, str],
    groups: dict[str, dict[str, list[list[float]]]],
    baselines: dict[str, dict[str, list[float]]],
    step: str = "frames",
) -> Figure:
    """A panel a score (the first four): the mean of each group's runs, the range of them behind it, baselines dashed.

    Args:
        labels: scores by name, and what they are called.
        groups: by label and score a curve a run, which may be of other lengths.
        baselines: by name and score a curve.
        step: unit of the horizon.
    """
    names = [*labels][:_PANELS]
    width, words = 4.2 * len(names) + 1.2, [_wrapped(label) for label in (*groups, *baselines)]
    widest = max(len(part) for word in words for part in word.split("\n"))
    columns = max(1, min(int(width / (0.075 * widest + 0.6)), 3))  # inches a letter, and of the line before it
    height = sum(word.count("\n") + 1.3 for word in words) / columns  # lines
    figure = new_figure(width, 3.4 + 0.15 * height)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        lines = [("-", (0, (5, 1)), (0, (1, 1)))[i // 8 % 3] for i in range(len(groups))]  # colours come again
        for (label, scores), colour, line in zip(groups.items(), colours_of(len(groups)), lines, strict=True):
            shortest = min(map(len, scores[name]))
            curves = np.array([curve[:shortest] for curve in scores[name]])
            horizons = np.arange(1, shortest + 1)
            axis.plot(horizons, curves.mean(0), color=colour, linestyle=line, label=_wrapped(label))
            axis.fill_between(horizons, curves.min(0), curves.max(0), color=colour, alpha=0.2, linewidth=0)
        for (label, scores), dashes in zip(baselines.items(), _dashes(len(baselines)), strict=True):
            if name in scores:
                curve = scores[name]
                horizons = range(1, len(curve) + 1)
                axis.plot(horizons, curve, color="#777777", linestyle=dashes, linewidth=1.1, label=plain(label))
        label_horizon(axis, labels[name], step)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    figure.suptitle(f"{plain(title)}: the frame at t+k, mean and range over runs")
    return figure


def _wrapped(label: str) -> str:
    return "\n".join(textwrap.wrap(plain(label), _LETTERS, break_on_hyphens=False))


def _dashes(count: int) -> list[str]:
    return [("--", ":", "-.")[i % 3] for i in range(count)]
