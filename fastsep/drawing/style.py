"""How the figures look, and how they are written: whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from fastsep.data.appearance import Appearance
from fastsep.files import make_directory, whole_path, write_problem

_PATIENCE = 60.0
"""Seconds for which a figure waits for another evaluation that draws the same one."""
TRUTH, FORECAST = "#222222", "#c8442b"
ERROR_MAP = "inferno"
MISSING = "#b4b4b4"
"""Cells that are never measured."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "figure.titlesize": 11,
    "image.interpolation": "nearest",
}
_DPI = 180


@contextmanager
def styled() -> Iterator[None]:
    """The house style, whatever the user's own is; figures are drawn and saved inside."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained", dpi=_DPI)


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG under its name only when whole. Raises UserError where that fails."""
    with whole(path) as part:
        figure.savefig(part, dpi=_DPI, facecolor="white")
    return path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path`` at the end. Raises UserError where that fails."""
    try:
        make_directory(path.parent)
        with whole_path(path, _PATIENCE) as part:
            yield part
    except OSError as error:
        raise write_problem(path, error) from None


def chosen_horizons(horizon: int) -> list[int]:
    """A handful of horizons, 1 and the last among them."""
    if horizon <= 6:
        return list(range(1, horizon + 1))
    round_numbers = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500) if k <= 0.75 * horizon]
    return [1, *round_numbers[1:][-5:], horizon]


def limits_of(truth: Tensor, appearance: Appearance) -> tuple[float, float]:
    """Range of the colour map for frames like ``truth``; cells that are not finite are missing."""
    values = truth[truth.isfinite()] if appearance.limits is None else truth
    return appearance.limits or (float(values.min()), float(values.max()))


def largest(error: np.ndarray | Tensor) -> float:
    """The upper end of a colour map of errors; what is not finite is missing. ``ValueError`` where all is."""
    values = np.asarray(error)
    return float(values[np.isfinite(values)].max()) or 1.0


def colour_map(name: str) -> Colormap:
    """A colour map that shows missing cells in a colour of their own."""
    return matplotlib.colormaps[name].with_extremes(bad=MISSING)


def picture(frame: Tensor) -> np.ndarray:
    """(C, H, W) -> what ``imshow`` takes: colours for three channels, else the first channel. Missing cells are NaN,
    or their own colour among colours."""
    array = frame.detach().float().cpu().numpy()
    if len(array) != 3:
        return array[0]
    colours = np.clip(array.transpose(1, 2, 0), 0, 1)
    return np.where(np.isfinite(colours), colours, to_rgb(MISSING)).astype(np.float32)


def error_picture(forecast: Tensor, truth: Tensor) -> np.ndarray:
    """(C, H, W) twice -> (H, W): absolute error, averaged over colours, of the channel shown otherwise."""
    error = (forecast - truth).abs().float().cpu().numpy()
    return error.mean(0) if len(error) == 3 else error[0]
