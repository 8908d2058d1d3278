"""What all charts share: colours, caption, axes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from bench.reporting.results_files import Device

COLOURS = {"reference": "#7f8790", "reference compiled": "#b3bac2", "fastsep": "#d1495b", "fastsep captured": "#8d2741"}


def colour(way: str) -> str:
    """Of a bar or line: whose it is, and whether compiled or captured."""
    if way.startswith("fastsep"):
        return COLOURS["fastsep captured" if "captured" in way else "fastsep"]
    return COLOURS["reference compiled" if "compiled" in way or "captured" in way else "reference"]


def caption(device: Device) -> str:
    """Where a chart's numbers come from."""
    facts = device.environment
    return f"{device.name} · torch {facts['versions']['torch']} · {facts['commit']} · {facts['date'][:10]}"


def whole_decades(axes: Axes) -> None:
    """Widen a logarithmic y axis to whole powers of ten, so that its labels stay few."""
    low, high = axes.get_ylim()
    axes.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))
    axes.yaxis.set_minor_formatter(NullFormatter())
