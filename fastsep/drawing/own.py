"""How data are shown that nobody published pictures of: in their own units, named after their file.

Letters: C channels; ``*space`` the other axes of a frame, ``*padded`` the same with padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastsep.data.appearance import Appearance
from fastsep.data.base import DataConfig
from fastsep.data.windows import Windows

View = Callable[[Tensor], Tensor]
"""Frames (..., C, *padded) as a model sees them -> (..., C', *space) as they are drawn, on the CPU."""


def own_appearance(settings: DataConfig, windows: Windows, channel: int = 0) -> Appearance:
    """Title and units of a data set without an appearance of its own, where ``channel`` is drawn."""
    scaling = windows.scaling
    title = settings.data.stem if settings.data else settings.name
    names, units = (scaling.names[channel:], scaling.units[channel:]) if scaling else ((), ())
    return appearance_of(title, names, units, windows.step or "frames")


def appearance_of(title: str, names: Sequence[str], units: Sequence[str], step: str) -> Appearance:
    """How frames look of which the first channel is drawn, and in which steps of time they follow each other."""
    name, unit = (values[0] if values else "" for values in (names, units))
    quantity = f"{name or 'value'} [{unit}]" if unit else name or "value"
    return Appearance(title, quantity, step=step)


def are_colours(shape: Sequence[int], names: Sequence[str], units: Sequence[str]) -> bool:
    """Whether frames of ``shape``, (C, *space), are pictures in colour: three channels of one variable, no unit."""
    variables = {name.split("[")[0] for name in names}
    return len(shape) == 3 and shape[0] == 3 and len(variables) <= 1 and not any(units)


def spread(values: Tensor) -> tuple[Tensor, Tensor]:
    """The least of the numbers that are finite, and what they span: (values - least) / span lies in 0 to 1."""
    values = values[values.isfinite()]
    return values.min(), (values.max() - values.min()).clamp_min(1e-30)


def channels_of(windows: Windows) -> int:
    """How many channels are drawn one by one; 1 where they are shown together, or one is all there is to show."""
    scaling = windows.scaling
    if scaling is None or are_colours((len(scaling.shift), *scaling.space), scaling.names, scaling.units):
        return 1
    return len(scaling.shift)


def view_of(windows: Windows, truth: Tensor, channel: int = 0) -> View:
    """What to draw of frames like ``truth``: padding taken off, missing cells NaN, or left out of a list of points; the
    upper row first.

    Three channels of one variable without a unit are colours, spread over the range of ``truth``; of others one is
    drawn.
    """
    scaling = windows.scaling
    if scaling is None:
        return Tensor.cpu
    is_image = len(scaling.space) == 2
    is_colour = are_colours((len(scaling.shift), *scaling.space), scaling.names, scaling.units)
    low, span = spread(scaling.unscale(truth.cpu()))

    def view(frames: Tensor) -> Tensor:
        own = scaling.unscale(frames.cpu())
        if is_image and windows.last_row == "north":
            own = own.flip(-2)
        if is_colour:
            return (own - low) / span
        own = own[(..., slice(channel, channel + 1), *(slice(None) for _ in scaling.space))]
        return own if is_image or scaling.present is None else own[..., torch.from_numpy(scaling.present)]

    return view
