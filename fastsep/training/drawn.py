"""What a step draws, as tensors on its device: a captured graph looks for them where they were."""

from __future__ import annotations

import torch
from torch import Tensor

from fastsep.config import ObjectiveConfig
from fastsep.model_config import ModelConfig
from fastsep.objective import forecast_frames, frame_spread, window_ends
from fastsep.training import draws


class Drawn:
    """The random window and the frames to decode, as the objective takes them; the host draws, alike for all devices.

    Args:
        seed: the run's.
    """

    end: Tensor
    """r, an int64 scalar."""
    chosen: Tensor | None
    """(k,) int64; None where all frames are decoded."""

    def __init__(self, model: ModelConfig, objective: ObjectiveConfig, seed: int, device: torch.device):
        self._seed = seed
        self._ends = window_ends(model, objective)
        self._frames = forecast_frames(model, objective)
        with device:
            self._spread = frame_spread(model, objective)
            self.end = torch.zeros((), dtype=torch.int64)
        self.chosen = None if self._spread is None else self._spread.clone()

    def draw(self, step: int) -> None:
        """Set both to what step ``step`` draws; nothing waits for the device."""
        self.end.fill_(draws.integer(self._seed, step, "window", *self._ends))
        if self.chosen is not None:
            turn = draws.integer(self._seed, step, "frames", 0, self._frames - 1)
            torch.add(self._spread, turn, out=self.chosen).remainder_(self._frames)
