"""Layers whose weight may stand ready in a half type.

Autocast rounds every weight in every step and widens every gradient again, which costs a large model a tenth of its
step. A trainer may instead keep the rounded weight beside the weight and update both at once.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Halved:
    """A layer that computes with ``factor()`` in place of its weight."""

    weight: nn.Parameter
    training: bool
    rounded: Tensor | None = None
    """The weight as its products take it in training, in a half type; a leaf that takes the gradient. No parameter: it
    is rounded anew from the weight by whoever put it there, and no part of the model's state."""
    takes_half: bool = True
    """Off where more is done with the weight than products: that wants all of its digits."""

    def factor(self) -> Tensor:
        """The half in training, where there is one; else the weight."""
        return self.rounded if self.rounded is not None and self.training else self.weight


class Linear(Halved, nn.Linear):
    """``nn.Linear`` with a half."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., a) -> (..., b)."""
        return F.linear(x, self.factor(), self.bias)


def drop_halves(model: nn.Module) -> None:
    """Let all layers of ``model`` compute with their weights again."""
    for module in model.modules():
        if isinstance(module, Halved):
            module.rounded = None
