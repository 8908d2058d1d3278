"""The learning rate as a function of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from fastsep.config import OptimConfig

_WARM_UP, _START, _END = 0.3, 1 / 25, 1e-4 / 25


def learning_rate(step: int, total_steps: int, steps_per_epoch: int, config: OptimConfig) -> float:
    """Rate of optimiser step ``step`` (from 0).

    ``one_cycle`` climbs from lr/25 to lr over the first 30% of the steps and falls to lr/250,000, both along half a
    cosine (Smith and Topin, 2018, in the two-phase form that PyTorch's OneCycleLR made common).
    """
    if config.schedule == "milestones":
        epoch = step // steps_per_epoch
        return config.lr * config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    if config.schedule == "one_cycle":
        peak = max(_WARM_UP * total_steps - 1, 1e-9)
        if step <= peak:
            return config.lr * _half_cosine(_START, 1.0, step / peak)
        return config.lr * _half_cosine(1.0, _END, (step - peak) / max(total_steps - 1 - peak, 1e-9))
    return config.lr


def _half_cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2
