"""Batch norm folded into the convolutions in front of it, for inference.

In evaluation mode batch norm scales and shifts each channel by constants, so a convolution with weights
W·γ/sqrt(σ² + ε) and bias (b - μ)·γ/sqrt(σ² + ε) + β does the work of both (Jacob et al. 2018, section 3.2).
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fastsep.networks.layers import activate

Model = TypeVar("Model", bound=nn.Module)


def fold_norms(model: Model) -> Model:
    """A copy of ``model`` for inference: forecasts agree to rounding, with one pass less over every feature map.

    The copy calls no batch norm. It can be neither trained further nor saved as a checkpoint of the model.

    Raises:
        ValueError: the model is in training mode, where batch norm depends on the batch.
    """
    if model.training:
        raise ValueError("batch norms can be folded in evaluation mode only: call model.eval() first")
    folded = copy.deepcopy(model).requires_grad_(False)
    for module in folded.modules():
        for norm, conv in getattr(module, "NORMS", {}).items():
            if getattr(module, norm, None) is not None:
                _fold(module, norm, conv)
    return folded


def _fold(owner: nn.Module, norm: str, conv: str) -> None:
    before: nn.Module = getattr(owner, conv)
    is_transposed = isinstance(before, nn.ConvTranspose2d)
    setattr(owner, conv, fuse_conv_bn_eval(before, getattr(owner, norm), transpose=is_transposed).requires_grad_(False))
    setattr(owner, norm, _Activation().eval())


class _Activation(nn.Module):
    """What is left of ``CallBatchNorm2d``."""

    def forward(self, x: Tensor, calls: int = 1, slope: float = 1.0, conv_bias: None = None) -> Tensor:
        return activate(x, slope)
