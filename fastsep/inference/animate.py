"""A forecast of a file as an animation.

Letters: n conditioning frames, h forecast horizon, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fastsep.data.appearance import Appearance
from fastsep.data.frames.showing import last_row, step_of
from fastsep.drawing.animation import animate_future
from fastsep.drawing.own import appearance_of, are_colours, spread
from fastsep.drawing.style import styled
from fastsep.errors import UserError, first_line
from fastsep.inference.outputs import Plan


def animate_forecast(
    known: Appearance | None, data: Path, cond: np.ndarray, future: np.ndarray, plan: Plan, path: Path
) -> Path:
    """Draw frames (n, C, *space) and how they go on, (h, C, *space), in the data's units; missing cells are grey.

    Three channels of one variable without a unit are colours; of others the first is drawn.

    Args:
        known: how frames of the run's data set are shown, where it says.
        data: the file of the frames, for the title.

    Raises:
        UserError: the numbers cannot be drawn, or the GIF cannot be written.
    """
    appearance = appearance_of(data.stem, plan.names, plan.units, step_of(plan.source, plan.every))
    if known:  # but a file has the time step that it has, whatever the run was trained on
        appearance = replace(known, step=appearance.step)
    if cond.ndim == 4 and last_row(plan.source) == "north":
        cond, future = cond[..., ::-1, :], future[..., ::-1, :]
    cond, future = torch.from_numpy(np.where(np.isfinite(future[0]), cond, np.nan)), torch.from_numpy(future.copy())
    try:
        if are_colours(cond.shape[1:], plan.names, plan.units):
            low, span = spread(cond)
            cond, future = (cond - low) / span, (future - low) / span
        else:
            cond, future = cond[:, :1], future[:, :1]
        with styled():
            return animate_future(cond, future, appearance, path)
    except (ValueError, ArithmeticError, RuntimeError) as error:  # numbers such as NaN alone
        raise UserError(f"{path} cannot be drawn ({first_line(error, 100)}): leave out --animate") from None
