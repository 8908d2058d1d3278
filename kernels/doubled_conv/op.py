"""The public function: which form suits a shape. Letters as in reference.py."""

from __future__ import annotations

from torch import Tensor

import kernels
from kernels.choose import chosen, register
from kernels.doubled_conv.candidates import FORMS, make_task
from kernels.portable import exporting

_PLAIN = kernels.setting() == "torch"
_FEW_PIXELS = 1024
"""Up to so many pixels a CPU spends more on widening the weight than the arithmetic saves."""

register("doubled_conv", make_task)


def doubled_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution, padded by 1, of ``x`` doubled by nearest neighbours.

    Args:
        x: (N, C, H, W), any float type; differentiable.
        weight: (F, C, 3, 3); differentiable.
        bias: (F,) or none; differentiable.

    Returns:
        (N, F, 2H, 2W).
    """
    if _PLAIN or exporting():  # an exported program is for any number of images and any machine
        return FORMS["doubled"](x, weight, bias)
    n, c, h, w = x.shape
    few = x.device.type == "cpu" and n * h * w <= _FEW_PIXELS
    form = chosen("doubled_conv", "forward+backward", n=n, c=c, h=h, w=w, f=weight.shape[0], dtype=x.dtype)
    return FORMS[form or ("doubled" if few else "folded")](x, weight, bias)
