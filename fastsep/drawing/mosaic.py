"""Many frames in one image: one axes draws in a fraction of the time of a grid of axes, and stays aligned."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from fastsep.drawing.style import MISSING

_GAP = 0.07  # between frames, as a share of a frame
_MOST = 400
"""Pixels of a frame's longer side that are drawn, several times what is seen; of larger ones every K-th."""


class Mosaic:
    """Frames of one size on a grid.

    Args:
        rows: number of rows.
        columns: number of columns.
        wide_rows: rows with a wide gap above.
        wide_columns: columns with a wide gap to the left.
        shape: (..., H, W), that of a frame, which is a unit wide and as high as that makes it, within a factor of four.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        wide_rows: tuple[int, ...] = (),
        wide_columns: tuple[int, ...] = (),
        shape: tuple[int, ...] = (1, 1),
    ):
        self._frames: dict[tuple[int, int], np.ndarray] = {}
        self._height = min(max(shape[-2] / shape[-1], 0.25), 4.0)
        self._tops = _offsets(rows, wide_rows)
        self._lefts = _offsets(columns, wide_columns)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in widths of a frame, gaps included."""
        return float(self._lefts[-1]), float(self._tops[-1]) * self._height

    def put(self, row: int, column: int, frame: np.ndarray) -> None:
        """Place a frame, (H, W) or (H, W, 3)."""
        self._frames[row, column] = frame

    def frames(self) -> list[np.ndarray]:
        """What was placed."""
        return list(self._frames.values())

    def draw(self, axes: Axes, colours: str, low: float, high: float) -> AxesImage:
        """Show the mosaic without ticks; empty places stay white, missing cells of frames are grey. Frames of three
        colours ignore the colour map."""
        some = next(iter(self._frames.values()))
        every = -(-max(some.shape[:2]) // _MOST)
        some = some[::every, ::every]
        height, width = some.shape[:2]
        # As places are rounded below: the last one must end within.
        shape = round(self._tops[-2] * height) + height, round(self._lefts[-2] * width) + width, *some.shape[2:]
        canvas, missing = np.full(shape, np.nan, np.float32), np.zeros(shape[:2], bool)
        for (row, column), frame in self._frames.items():
            top, left = round(self._tops[row] * height), round(self._lefts[column] * width)
            place = slice(top, top + height), slice(left, left + width)
            frame = frame[::every, ::every]
            canvas[place] = frame
            missing[place] = ~np.isfinite(frame).reshape(height, width, -1).all(-1)
        if canvas.ndim == 3:
            canvas = np.nan_to_num(canvas, nan=1.0)
        extent = (0, self._lefts[-1], self.size[1], 0)
        image = axes.imshow(canvas, cmap=colours, vmin=low, vmax=high, extent=extent)
        if missing.any():
            grey = np.zeros((*missing.shape, 4), np.uint8)
            grey[missing] = np.rint(255 * np.array(to_rgba(MISSING)))
            axes.imshow(grey, extent=extent)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return image

    def label_columns(self, axes: Axes, labels: dict[int, str], row: int = 0) -> None:
        """Write above the frames of ``row``."""
        for column, text in labels.items():
            at = self._lefts[column] + 0.5, self._tops[row] * self._height - 0.06
            axes.text(*at, text, ha="center", va="bottom", fontsize=9)

    def label(self, axes: Axes, row: int, column: int, text: str, **style: object) -> None:
        """Write left of a frame, upwards."""
        at = self._lefts[column] - 0.06, (self._tops[row] + 0.5) * self._height
        axes.text(*at, text, ha="right", va="center", rotation=90, **{"fontsize": 8.5, **style})

    def outline(self, axes: Axes, row: int, column: int, colour: str) -> None:
        """Draw a frame around a frame."""
        corner = self._lefts[column], self._tops[row] * self._height
        box = Rectangle(corner, 1, self._height, fill=False, edgecolor=colour, linewidth=2.2, clip_on=False)
        axes.add_patch(box)


def _offsets(count: int, wide: tuple[int, ...]) -> np.ndarray:
    """Where each of ``count`` rows or columns begins, and where the last one ends."""
    gaps = np.array([0.0] + [4 * _GAP if i in wide else _GAP for i in range(1, count)])
    starts = np.cumsum(gaps) + np.arange(count)
    return np.append(starts, starts[-1] + 1)
