"""The learning rate as a function of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from fastsep.config import OptimConfig

_START = 1 / 25


def learning_rate(step: int, total_steps: int, steps_per_epoch: int, config: OptimConfig) -> float:
    """Rate of optimiser step ``step`` (from 0).

    ``one_cycle`` climbs from lr/25 to lr over a share ``warm_up`` of the steps and falls to ``final_rate`` times lr,
    both along half a cosine (Smith and Topin, 2018, in the two-phase form that PyTorch's OneCycleLR made common, whose
    usual shares are the defaults).
    """
    if config.schedule == "milestones":
        epoch = step // steps_per_epoch
        return config.lr * config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    if config.schedule == "one_cycle":
        peak = max(config.warm_up * total_steps - 1, 1e-9)
        if config.warm_up and step <= peak:
            return config.lr * _half_cosine(_START, 1.0, step / peak)
        return config.lr * _half_cosine(1.0, config.final_rate, (step - peak) / max(total_steps - 1 - peak, 1e-9))
    return config.lr


def _half_cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2
