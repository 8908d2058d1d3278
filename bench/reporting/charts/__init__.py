"""Charts of one device's results."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from bench.reporting.charts.lines import forecasts, rollouts, scaling_panels
from bench.reporting.charts.speed import roofline, speedups
from bench.reporting.charts.style import caption
from bench.reporting.charts.training import training
from bench.reporting.results_files import Device


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
        figure.text(0.99, -0.01, caption(device), ha="right", va="top", fontsize=7, color="#7f8790")
        path = folder / f"{name}.png"
        figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
        paths.append(path)
    return paths
