"""Which figures a run gets, and the sequences that they show.

Letters: S sequences, n conditioning frames, h forecast horizon; ``*shape`` one frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from fastsep.config import Config
from fastsep.data.appearance import Appearance
from fastsep.data.base import DataConfig
from fastsep.data.windows import Windows
from fastsep.drawing.animation import animate_images, animate_points
from fastsep.drawing.curves import error_figure, latent_figure, training_figure
from fastsep.drawing.frames import forecast_figure, strips_figure, swap_figure
from fastsep.drawing.own import View, channels_of, own_appearance, view_of
from fastsep.drawing.points import heatmap_figure, series_figure
from fastsep.drawing.style import chosen_horizons, save, styled
from fastsep.errors import first_line, warn
from fastsep.model import SeparableModel

_SEQUENCES = 4
_SWAP_TIMES = 3
_SWAP_HORIZON = 20
_MOST_CHANNELS = 8
"""That get a picture of their own."""


class _Examples(NamedTuple):
    """Test sequences to draw."""

    cond: Tensor
    """(S, n, *shape), the conditioning frames."""
    truth: Tensor
    """(S, h, *shape), the frames that followed."""
    forecast: Tensor
    """(S, h, *shape), the model's."""


def draw_figures(
    place: Path,
    model: SeparableModel,
    config: Config,
    windows: Windows,
    labels: dict[str, str],
    curves: dict[str, Any],
    log: list[dict[str, Any]],
) -> list[Path]:
    """Draw everything that suits the data set into ``place/figures`` and return the paths.

    Args:
        labels: name and unit of every score in ``curves``.

    Raises:
        UserError: a figure cannot be written.
    """
    appearance = _appearance(config.data, windows)
    folder = place / "figures"
    batch = _examples(model, windows, config.model.nt_cond)
    horizon = batch.truth.shape[1]
    view = view_of(windows, batch.truth)
    cond, truth, forecast = view(batch.cond), view(batch.truth), view(batch.forecast)
    is_image = truth.ndim == 5
    paths: list[Path] = []

    def draw(name: str, make: Callable[[], Figure]) -> None:
        drawn(name, lambda: save(make(), folder / f"{name}.png"))

    def drawn(name: str, write: Callable[[], Path]) -> None:
        try:
            paths.append(write())
        except (ValueError, ArithmeticError, RuntimeError) as error:  # numbers that cannot be drawn, such as NaN
            warn(f"no figure {name}: {first_line(error, 150)}")

    with styled():
        if is_image:
            draw("forecast", lambda: forecast_figure(truth[0], forecast[0], appearance))
            for channel in range(1, min(channels_of(windows), _MOST_CHANNELS)):
                draw(f"forecast-channel-{channel + 1}", lambda of=channel: _forecast_of(config, windows, batch, of))
            draw("strips", lambda: strips_figure(cond, truth, forecast, appearance))
            if not config.model.no_s:
                draw("swap", lambda: _swap(model, batch, view, appearance))
        else:
            draw("forecast", lambda: heatmap_figure(cond[0], truth[0], forecast[0], appearance))
            present = None if windows.scaling is None else windows.scaling.present
            numbers = None if present is None else present.nonzero()[0].tolist()
            draw("series", lambda: series_figure(cond[0], truth[0], forecast[0], appearance, numbers))
        draw("error", lambda: error_figure(curves, labels, len(windows), appearance))
        trajectory = model.trajectory(batch.cond, horizon + config.model.offset)
        draw("latent", lambda: latent_figure(trajectory, config.model.offset, appearance))
        if len(log) > 1:
            draw("training", lambda: training_figure(log, f"{appearance.title}: training"))
        animate = animate_images if is_image else animate_points
        gif = folder / "forecast.gif"
        drawn("forecast.gif", lambda: animate(cond[0], truth[0], forecast[0], appearance, gif))
    return paths


def _appearance(settings: DataConfig, windows: Windows) -> Appearance:
    known = settings.appearance
    return replace(known, step=windows.step or known.step) if known else own_appearance(settings, windows)


def _forecast_of(config: Config, windows: Windows, batch: _Examples, channel: int) -> Figure:
    view = view_of(windows, batch.truth, channel)
    appearance = own_appearance(config.data, windows, channel)
    return forecast_figure(view(batch.truth)[0], view(batch.forecast)[0], appearance)


def _examples(model: SeparableModel, windows: Windows, n: int) -> _Examples:
    """Sequences from all over the test set."""
    # Multiples of the golden section lie apart however many there are.
    places = (torch.arange(1, min(_SEQUENCES, len(windows)) + 1, dtype=torch.float64) * 0.6180339887) % 1
    index = (places * len(windows)).long().to(windows.device)
    video = windows.batch(index)
    cond, truth = video[:, :n], video[:, n:]
    return _Examples(cond, truth, model.forecast(cond, truth.shape[1]))


def _swap(model: SeparableModel, batch: _Examples, view: View, appearance: Appearance) -> Figure:
    rows = min(3, len(batch.cond))
    columns = min(2, rows)
    horizons = chosen_horizons(min(batch.truth.shape[1], _SWAP_HORIZON))[-_SWAP_TIMES:]
    times = [k - 1 for k in horizons]
    content = batch.cond[:rows].repeat_interleave(columns, 0)  # (rows * columns, n, *shape)
    motion = batch.cond[:columns].repeat(rows, *[1] * (batch.cond.ndim - 1))
    swapped = view(model.swap(content, motion, horizons[-1])[:, times]).unflatten(0, (rows, columns))
    content, motion = view(batch.cond[:rows, -1]), view(batch.truth[:columns, times])
    return swap_figure(content, motion, swapped, horizons, appearance)
