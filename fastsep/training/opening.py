"""The data of a run, and its settings once the data are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from fastsep.config import Config
from fastsep.data import residency
from fastsep.data.base import Padding
from fastsep.data.windows import Windows
from fastsep.errors import UserError, warn
from fastsep.model_auto import networks_for, require_shape, settle
from fastsep.model_config import ModelConfig
from fastsep.networks.sizes import padding_for, written
from fastsep.runs.directory import kept_scaling

_ROUNDING = 1e-5
_MOST_PADDED = 4 / 3
"""Cells of a padded frame, in those of the frame."""


def open_data(
    config: Config,
    device: torch.device,
    say: Callable[[str], None],
    run: Path | None = None,
    streamed: bool | None = None,
) -> tuple[Windows, Windows, Config]:
    """Training and test windows on ``device``, and the settings with all that they leave to the data settled.

    Args:
        say: what to do with a line about the data, or about what was settled.
        run: the settings are those of this run, which keeps its networks and what its frames are scaled by.
        streamed: whether it read its frames while it trained until now, if that is known.

    Raises:
        UserError: missing or damaged data; frames that the model does not take.
    """
    spans = config.model.nt_cond, config.objective.nt_pred
    scaling = kept_scaling(run, config) if run else None
    with residency.kept_out(streamed is True):
        windows = config.data.open("train", *spans, device, scaling, _padding(config.model))
    if streamed:
        say("frames are read while the model trains, as before: their order is that of the run")
    if streamed is False and windows.streamed:
        warn(
            "the frames do not fit memory any more and are read while the model trains: the run goes on, with its "
            "windows in another order; free some for that of an unbroken run"
        )
    test_windows = config.data.open("test", *spans, device, windows.scaling)
    if tuple(windows.shape) != tuple(test_windows.shape):
        raise UserError(
            f"training frames are {written(windows.shape)}, test frames {written(test_windows.shape)}: "
            "give data of one size"
        )
    if run:
        require_shape(config.model, windows.shape)
    for note in windows.notes:
        say(note)
    model, line = settle(config.model, windows.shape, narrow=device.type == "cpu")
    if line:
        say(line)
    _check_range(model, windows)
    return windows, test_windows, replace(config, model=model)


def _padding(model: ModelConfig) -> Padding:
    """What frames lack that the networks need; nothing where that would be much, so that it is told."""

    def padding(shape: tuple[int, ...]) -> tuple[int, ...]:
        space = shape[1:]
        try:
            for kind in networks_for(model, shape)[:2] * 2:  # either may need more after the other
                space = tuple(size + more for size, more in zip(space, padding_for(kind, space), strict=True))
        except UserError:  # there is no such size
            return ()
        if space == shape[1:] or math.prod(space) > _MOST_PADDED * math.prod(shape[1:]):
            return ()
        return tuple(wanted - size for wanted, size in zip(space, shape[1:], strict=True))

    return padding


def _check_range(model: ModelConfig, windows: Windows) -> None:
    """Raise UserError where frames lie outside of what the decoder can give."""
    if model.last_activation == "sigmoid" and windows.limits is not None:
        low, high = windows.limits
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise UserError(
                f"the frames go from {low:.4g} to {high:.4g}, a sigmoid gives 0 to 1: set --last-activation none"
            )
