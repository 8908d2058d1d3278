"""The networks of a run by the frames of its data.

Letters: C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

from dataclasses import replace

from fastsep.config import ModelConfig
from fastsep.errors import UserError


def fit(config: ModelConfig, shape: tuple[int, ...]) -> tuple[ModelConfig, str]:
    """The settings with all that they leave open settled for frames of ``shape``, (C, *space).

    An empty ``config.shape`` becomes that of the data.

    Returns:
        The settings, and a line that says what was picked and why; "" where nothing was.

    Raises:
        UserError: the settings are for frames of another shape.
    """
    shape = tuple(shape)
    if not config.shape:
        config = replace(config, shape=shape)
    if config.shape != shape:
        given = " ".join(map(str, shape))
        raise UserError(
            f"the data's frames are {written(shape)}, the model takes {written(config.shape)}: set --shape {given}"
        )
    return config, ""


def written(shape: tuple[int, ...]) -> str:
    """A shape in a message, such as 1x64x64."""
    return "x".join(map(str, shape))
