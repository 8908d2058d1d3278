"""Weights averaged over the steps of a training: noise of single steps cancels (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module


class Average:
    """Exponential moving average of a model's weights and running statistics, which lies beside them on the device.

    After step t (from 0) it becomes ``d * average + (1 - d) * weights`` with ``d = min(decay, (1 + t) / (10 + t))``: a
    run that is short against ``1 / (1 - decay)`` averages over the last tenth of its steps instead of over its start.
    The decay is a function of the step, so resuming needs the tensors alone.

    Args:
        model: on its device; its tensors are read where they lie, so they may change but not be replaced.
        decay: the largest d, at least 0 and below 1.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = model
        self.decay = decay
        self._weights = {
            name: tensor.detach()
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
            if tensor.is_floating_point()
        }
        self._averages = {name: tensor.clone() for name, tensor in self._weights.items()}
        # Lives on the device, so that it can change under a captured graph.
        self._share = torch.zeros((), device=next(iter(self._weights.values())).device)

    def begin(self, step: int) -> None:
        """Set the decay of ``step`` (from 0), before it and outside of a captured graph."""
        self._share.fill_(1 - decay_at(step, self.decay))

    def update(self) -> None:
        """Take in the weights that a step left; device operations only."""
        # One pass each: PyTorch's grouped lerp takes no weight from the device, and with numbers takes as long.
        for name, average in self._averages.items():
            average.lerp_(self._weights[name], self._share)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Let the model compute with, and give as its state, the averages; its own weights stay where they lie."""
        with _reparametrize_module(self.model, self._averages):
            yield

    def weights(self) -> dict[str, Tensor]:
        """The model's own weights by name: what resuming needs beside the averages."""
        return self._weights

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from a model that holds the averages, as a checkpoint gives them, and from its own ``weights``.

        Raises:
            ValueError: they are another model's.
        """
        if {name: tensor.shape for name, tensor in weights.items()} != {
            name: tensor.shape for name, tensor in self._weights.items()
        }:
            raise ValueError("weights of another model")
        for name, tensor in self._weights.items():
            self._averages[name].copy_(tensor)
            tensor.copy_(weights[name])


def decay_at(step: int, decay: float) -> float:
    """The decay of ``step`` (from 0): it climbs from 0.1 to ``decay``."""
    return min(decay, (1 + step) / (10 + step))
