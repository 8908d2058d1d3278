"""The scaling of a run, from statistics of its training part."""

from __future__ import annotations

import numpy as np

from fastsep.data.frames.settings import Frames
from fastsep.data.frames.source import Source
from fastsep.data.frames.statistics import Statistics
from fastsep.data.scaling import Scaling
from fastsep.errors import UserError

_LARGEST = 1e30
"""What float32 squares and sums without an overflow, once it is scaled."""
_LEVELS = 256
"""Steps of float32 that a standard deviation spans at least: they round away a millionth of the variance."""


def scaling_from(
    statistics: Statistics, config: Frames, source: Source, padding: tuple[int, ...]
) -> tuple[Scaling, tuple[float, float]]:
    """The scaling that ``config`` asks for, and the least and largest value of the training part as scaled by it.

    A cell that is missing at all times in one of the channels is left out in all of them.

    Raises:
        UserError: no cell has values, a channel is constant, or its values are too large for float32 or too far from 0.
    """
    present = statistics.present()
    if not present.any():
        raise UserError(f"{config.data}: no cell has a value in every channel: choose other data, or --variable")
    low, high, mean, deviation = statistics.channels(present)
    for channel in range(len(low)):
        name = _name(source, channel)
        if not max(abs(low[channel]), abs(high[channel])) < _LARGEST:
            raise UserError(
                f"{config.data}: {name} has values from {low[channel]:.4g} to {high[channel]:.4g}, too large for "
                "float32: give it in other units"
            )
        if config.scale == "none":
            continue
        step = np.spacing(np.float32(max(abs(low[channel]), abs(high[channel]))))
        if not source.exact and low[channel] < high[channel] and deviation[channel] < _LEVELS * step:
            raise UserError(
                f"{config.data}: {name} varies by {deviation[channel]:.2g} around {mean[channel]:.6g}, which float32 "
                f"holds in steps of {step:.2g}: subtract an offset from the data"
            )
        if not np.float32(high[channel] - low[channel]) > 0:
            hint = ", subtract an offset from data that do vary" if not source.exact else ""
            raise UserError(
                f"{config.data}: {name} is constant in the training part ({low[channel]:.6g}), so it cannot be scaled: "
                f"leave it out with --variable, or set --scale none{hint}"
            )
    shift, factor = {
        "minmax": (low, high - low),
        "standard": (mean, deviation),
        "none": (np.zeros_like(low), np.ones_like(low)),
    }[config.scale]
    scaling = Scaling(
        tuple(source.shape[1:]), shift.astype(np.float32), factor.astype(np.float32),
        None if present.all() else present, tuple(padding), tuple(source.names), tuple(source.units),
    )  # fmt: skip
    return scaling, (float(((low - shift) / factor).min()), float(((high - shift) / factor).max()))


def _name(source: Source, channel: int) -> str:
    known = channel < len(source.names) and source.names[channel]
    return str(source.names[channel]) if known else f"channel {channel}"
