"""A forecast of a file as an animation.

Letters: n conditioning frames, h forecast horizon, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fastsep.drawing.animation import animate_future
from fastsep.drawing.gallery import APPEARANCES
from fastsep.drawing.style import Appearance, styled
from fastsep.errors import UserError
from fastsep.inference.outputs import Plan


def animate_forecast(dataset: str, data: Path, cond: np.ndarray, future: np.ndarray, plan: Plan, path: Path) -> Path:
    """Draw frames (n, C, *space) and how they go on, (h, C, *space), in the data's units; missing cells are grey.

    Three channels of one variable without a unit are colours; of others the first is drawn.

    Args:
        dataset: that the model was trained on.
        data: the file of the frames, for the title.

    Raises:
        UserError: the numbers cannot be drawn, or the GIF cannot be written.
    """
    name, unit = (values[0] if values else "" for values in (plan.names, plan.units))
    quantity = f"{name or 'value'} [{unit}]" if unit else name or "value"
    step = "frames" if plan.every == 1 else f"steps of {plan.every} frames"
    known = APPEARANCES.get(dataset)
    # A file has the time step that it has, whatever the run was trained on.
    appearance = replace(known, step=step) if known else Appearance(data.stem, quantity, step=step)
    cond, future = torch.from_numpy(np.where(np.isfinite(future[0]), cond, np.nan)), torch.from_numpy(future)
    try:
        variables = {name.split("[")[0] for name in plan.names}
        if cond.ndim == 4 and cond.shape[1] == 3 and len(variables) <= 1 and not any(plan.units):
            values = cond[cond.isfinite()]
            low, span = values.min(), (values.max() - values.min()).clamp_min(1e-30)
            cond, future = (cond - low) / span, (future - low) / span
        else:
            cond, future = cond[:, :1], future[:, :1]
        with styled():
            return animate_future(cond, future, appearance, path)
    except (ValueError, ArithmeticError, RuntimeError) as error:  # numbers such as NaN alone
        raise UserError(f"{path} cannot be drawn ({str(error)[:100]}): leave out --animate") from None
