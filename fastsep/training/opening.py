"""The data of a run, and its settings once the data are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from fastsep.config import Config
from fastsep.data.windows import Windows
from fastsep.errors import UserError
from fastsep.networks.fit import fit, require_shape
from fastsep.networks.sizes import written


def open_data(
    config: Config, device: torch.device, say: Callable[[str], None], resumed: bool = False
) -> tuple[Windows, Windows, Config]:
    """Training and test windows on ``device``, and the settings with all that they leave to the data settled.

    Args:
        say: what to do with a line about what was settled.
        resumed: the settings are those of a run, which keeps its networks.

    Raises:
        UserError: missing or damaged data; frames that the model does not take.
    """
    spans = config.model.nt_cond, config.objective.nt_pred
    windows, test_windows = (config.data.open(split, *spans, device) for split in ("train", "test"))
    if tuple(windows.shape) != tuple(test_windows.shape):
        raise UserError(
            f"training frames are {written(windows.shape)}, test frames {written(test_windows.shape)}: "
            "give data of one size"
        )
    if resumed:
        require_shape(config.model, windows.shape)
    model, line = fit(config.model, windows.shape)
    if line:
        say(line)
    return windows, test_windows, replace(config, model=model)
