"""The library's own convolutions as candidates: as they are, and with channels padded to a multiple of eight.

Tensor cores take channels in eights; with fewer, the library falls back to kernels far below its rate. Zero channels
change nothing. Letters as in reference.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.thin_conv.reference import entry_reference, exit_reference


def padded(x: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """``x`` with zero channels behind those of ``dim`` up to a multiple of eight, channels last, in ``dtype``."""
    sizes = list(x.shape)
    sizes[dim] = -(-sizes[dim] // 8) * 8
    out = torch.empty(sizes, dtype=dtype, device=x.device, memory_format=torch.channels_last).zero_()
    out.narrow(dim, 0, x.shape[dim]).copy_(x)
    return out


def entry(
    x: Tensor, _: None, weight: Tensor, bias: Tensor | None, stride: int, padding: int, slope: float,
    dtype: torch.dtype, pad: bool,
) -> Tensor:  # fmt: skip
    """y (N, F, H', W') in ``dtype``, channels last. The kernels' padded frames are none here."""
    x, weight = _entry_operands(x, weight, dtype, pad)
    y = entry_reference(x, weight, None if bias is None else bias.to(dtype), stride, padding, slope)
    return y.contiguous(memory_format=torch.channels_last)


def entry_gradients(
    grad: Tensor, x: Tensor, _: None, y: Tensor, weight: Tensor, stride: int, padding: int, slope: float, bias: bool,
    pad: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Derivatives by ``weight`` and bias (empty where there is none), in the type of ``weight``."""
    if slope != 1.0:
        grad = torch.where(y > 0, grad, grad * slope)
    low_x, low_weight = _entry_operands(x, weight, grad.dtype, pad)
    rest = [stride, stride], [padding, padding], [1, 1], False, [0, 0], 1, [False, True, bias]
    sizes = [weight.shape[0]] if bias else None
    _, by_weight, by_bias = torch.ops.aten.convolution_backward(grad, low_x, low_weight, sizes, *rest)
    return _like(weight, by_weight[:, : weight.shape[1]]), by_bias.to(weight.dtype) if bias else weight.new_empty(0)


def exit_(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, stride: int, pad: bool) -> Tensor:
    """Frames (N, F, s H, s W), in float32 at least."""
    dim = 1 if transposed else 0
    features = weight.shape[dim]
    low = padded(weight, dim, x.dtype) if pad else weight.to(x.dtype)
    if bias is not None:
        bias = F.pad(bias.to(x.dtype), (0, low.shape[dim] - features))
    return exit_reference(x, low, bias, transposed, stride)[:, :features].contiguous()


def exit_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, transposed: bool, stride: int, pad: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by ``x`` (channels last), ``weight`` and bias, the last two in the type of ``weight``."""
    dim = 1 if transposed else 0
    features = weight.shape[dim]
    low, grad = (
        (padded(weight, dim, x.dtype), padded(grad, 1, x.dtype)) if pad else (weight.to(x.dtype), grad.to(x.dtype))
    )
    rest = [stride, stride], [1, 1], [1, 1], transposed, [0, 0], 1, [True, True, True]
    by_x, by_weight, by_bias = torch.ops.aten.convolution_backward(grad, x, low, [low.shape[dim]], *rest)
    by_weight = _like(weight, by_weight.narrow(dim, 0, features))
    return by_x.contiguous(memory_format=torch.channels_last), by_weight, by_bias[:features].to(weight.dtype)


def _entry_operands(x: Tensor, weight: Tensor, dtype: torch.dtype, pad: bool) -> tuple[Tensor, Tensor]:
    return (padded(x, 1, dtype), padded(weight, 1, dtype)) if pad else (x.to(dtype), weight.to(dtype))


def _like(weight: Tensor, gradient: Tensor) -> Tensor:
    """``gradient`` in the type and the layout of ``weight``."""
    return torch.empty_like(weight).copy_(gradient)
