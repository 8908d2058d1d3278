"""A forecast as an animation.

Letters: n conditioning frames, h forecast horizon.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from fastsep.data.appearance import Appearance
from fastsep.drawing.points import by_course
from fastsep.drawing.style import (
    ERROR_MAP,
    FORECAST,
    TRUTH,
    colour_map,
    error_picture,
    largest,
    limits_of,
    new_figure,
    picture,
    whole,
)

_DPI = 80
_MOST = 600
"""Frames of an animation; of longer forecasts every second, third, ... is shown."""
_SAMPLES = 8
"""Frames whose colours all are drawn in."""


class _Writer(PillowWriter):
    """Draws all frames in the same 256 colours: with colours of its own for each, colour bars would flicker.

    Args:
        frames: how many there are, for the rate.
        colours: pictures of three channels, which need more colours than are left for each, and have no such bar.
    """

    def __init__(self, frames: int, colours: bool = False):
        super().__init__(fps=_rate(frames))
        self._is_free = colours

    def finish(self) -> None:
        if self._is_free:
            super().finish()
            return
        frames = self._frames
        spread = [frames[k * (len(frames) - 1) // (_SAMPLES - 1)] for k in range(_SAMPLES)]
        sheet = Image.new("RGB", (spread[0].width, spread[0].height * _SAMPLES))
        for k, frame in enumerate(spread):
            sheet.paste(frame, (0, k * frame.height))
        # Colours far apart rather than frequent ones: most of a figure is white, and colour bars are thin.
        palette = sheet.quantize(256, Image.Quantize.MAXCOVERAGE)
        colours = np.array(palette.getpalette()).reshape(-1, 3)
        colours[colours.min(1) > 247] = 255  # the paper is white
        palette.putpalette(colours.ravel().tolist())
        self._frames = [frame.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        super().finish()


def animate_images(cond: Tensor, truth: Tensor, forecast: Tensor, appearance: Appearance, path: Path) -> Path:
    """Truth, forecast and error side by side over time: (n, C, H, W), then (h, C, H, W) twice. Writes a GIF."""
    n = len(cond)
    low, high = limits_of(truth, appearance)
    worst = largest((forecast - truth).abs().cpu())
    figure = new_figure(7.6, 3.0)
    axes = figure.subplots(1, 3)
    show = {"cmap": colour_map(appearance.colours), "vmin": low, "vmax": high}
    blank = np.zeros(truth.shape[-2:])
    shown = [axes[0].imshow(picture(cond[0]), **show), axes[1].imshow(picture(cond[0]), **show)]
    error = axes[2].imshow(blank, cmap=colour_map(ERROR_MAP), vmin=0, vmax=worst)
    for axis, name in zip(axes, ("truth", "forecast", "absolute error"), strict=True):
        axis.set_title(name)
        axis.set_xticks([])
        axis.set_yticks([])
    if truth.shape[1] != 3:
        figure.colorbar(shown[0], ax=axes[:2].tolist(), aspect=20, pad=0.02, shrink=0.8).set_label(appearance.quantity)
    figure.colorbar(error, ax=axes[2], aspect=20, pad=0.02, shrink=0.8).set_label(appearance.error)
    _freeze(figure)
    title = figure.suptitle("")
    writer = _Writer(n + len(truth), truth.shape[1] == 3)
    with whole(path) as part, _saved(writer, figure, part):
        for t in _shown(n + len(truth)):
            is_future = t >= n
            true = truth[t - n] if is_future else cond[t]
            predicted = forecast[t - n] if is_future else cond[t]
            shown[0].set_data(picture(true))
            shown[1].set_data(picture(predicted))
            error.set_data(error_picture(predicted, true))
            title.set_text(f"{appearance.title}: {_when(t, n)}")
            writer.grab_frame()
    return path


def animate_points(cond: Tensor, truth: Tensor, forecast: Tensor, appearance: Appearance, path: Path) -> Path:
    """All points at each time, truth against forecast: (n, 1, P), then (h, 1, P) twice. Writes a GIF."""
    n = len(cond)
    true = torch.cat([cond, truth])[:, 0].float().cpu()  # (n + h, P)
    predicted = torch.cat([cond, forecast])[:, 0].float().cpu()
    low, high = min(true.min(), predicted.min()).item(), max(true.max(), predicted.max()).item()
    pad = 0.05 * (high - low) + 1e-6
    order = by_course(truth)
    true, predicted = true[:, order], predicted[:, order]
    figure = new_figure(7.6, 3.2)
    axis = figure.subplots()
    (true_line,) = axis.plot(true[0], "o", color=TRUTH, markersize=4.5, fillstyle="none", label="truth")
    (line,) = axis.plot(predicted[0], ".", color=FORECAST, markersize=4.5, label="forecast")
    axis.set_ylim(low - pad, high + pad)
    axis.set_xlabel("points, sorted by their course")
    axis.set_ylabel(appearance.quantity)
    figure.legend(loc="outside lower center", ncols=2)
    _freeze(figure)
    title = figure.suptitle("")
    writer = _Writer(len(true))
    with whole(path) as part, _saved(writer, figure, part):
        for t in _shown(len(true)):
            true_line.set_ydata(true[t])
            line.set_ydata(predicted[t])
            line.set_visible(t >= n)
            title.set_text(f"{appearance.title}: {_when(t, n)}")
            writer.grab_frame()
    return path


def animate_future(cond: Tensor, forecast: Tensor, appearance: Appearance, path: Path) -> Path:
    """A forecast that nothing is compared with: frames (n, C, *space), then (h, C, *space), images or points alike.
    Writes a GIF."""
    n, frames = len(cond), torch.cat([cond, forecast]).float().cpu()
    low, high = limits_of(frames, appearance)
    is_image = frames.ndim == 4
    aspect = min(max(frames.shape[-1] / frames.shape[-2], 0.4), 2.5)
    figure = new_figure(*((2.8 * aspect + 1.3, 3.4) if is_image else (7.6, 3.0)))
    axis = figure.subplots()
    if is_image:
        shown = axis.imshow(picture(frames[0]), cmap=colour_map(appearance.colours), vmin=low, vmax=high)
        axis.set_xticks([])
        axis.set_yticks([])
        if frames.shape[1] != 3:
            figure.colorbar(shown, ax=axis, aspect=20, pad=0.02, shrink=0.8).set_label(appearance.quantity)
    else:
        (line,) = axis.plot(frames[0, 0], ".-", linewidth=0.6, markersize=4)
        pad = 0.05 * (high - low) + 1e-6
        axis.set_ylim(low - pad, high + pad)
        axis.set_xlabel("points")
        axis.set_ylabel(appearance.quantity)
    _freeze(figure)
    title = figure.suptitle("")
    writer = _Writer(len(frames), is_image and frames.shape[1] == 3)
    with whole(path) as part, _saved(writer, figure, part):
        for t in _shown(len(frames)):
            frame = frames[t]
            if is_image:
                shown.set_data(picture(frame))
            else:
                line.set_ydata(frame[0])
                line.set_color(TRUTH if t < n else FORECAST)
            title.set_text(f"{appearance.title}: {_when(t, n)}")
            writer.grab_frame()
    return path


@contextmanager
def _saved(writer: _Writer, figure: Figure, part: Path) -> Iterator[None]:
    """The file is written in the end, and not where a frame failed: of no frames there is no file."""
    writer.setup(figure, part, _DPI)
    yield
    writer.finish()


def _shown(frames: int) -> range:
    """Which of so many frames are drawn: a writer holds them all in memory."""
    return range(0, frames, -(-frames // _MOST))


def _freeze(figure: Figure) -> None:
    """Lay out once: repeating it would take most of the time, and axes would move."""
    figure.suptitle("t+1")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _when(t: int, n: int) -> str:
    return f"t+{t - n + 1}" if t >= n else f"conditioning frame {t + 1} of {n}"


def _rate(frames: int) -> int:
    """Frames a second: long sequences run faster."""
    return 4 if frames <= 20 else 8
