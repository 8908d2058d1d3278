"""Launch the Triton kernels of an exit, alone or with the batch norm in front of it. Letters as in exit.py."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from kernels.call_norm import launch as norm_launch
from kernels.thin_conv import cuts
from kernels.thin_conv.exit import add_terms_kernel, exit_terms_kernel
from kernels.thin_conv.exit_gradients import exit_gradients_kernel
from kernels.thin_conv.launch import block, check_sizes, share_out

ADDED = 1024
"""Outputs of a program that adds up terms."""


class Norm(NamedTuple):
    """The batch norm in front: its statistics (4, K, C), what it moves, and its settings."""

    stats: Tensor
    conv_bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    calls: int
    momentum: float
    slope: float


def exit_constants(x: Tensor, weight: Tensor, transposed: bool, stride: int) -> dict[str, object]:
    """What the kernels that meet frames know of an exit's shape."""
    sizes = {"F": weight.shape[1 if transposed else 0], "H": x.shape[2], "W": x.shape[3]}
    return {**sizes, "DOUBLES": stride == 2, "FLIPPED": transposed}


def terms_constants(x: Tensor, weight: Tensor, transposed: bool, cut: cuts.ExitCut) -> dict[str, object]:
    """What the kernel of the terms knows of it."""
    c, f, side = x.shape[1], weight.shape[1 if transposed else 0], weight.shape[2]
    sizes = {"C": c, "F": f, "SIDE": side, "BLOCK_C": block(c), "COLUMNS": block(f * side * side)}
    return {**sizes, "BLOCK_M": cut.block_m, "STAGES": cut.stages}


def exit_(
    x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, stride: int, sigmoid: bool, cut: str,
    norm: Norm | None = None,
) -> Tensor:  # fmt: skip
    """Frames (N, F, s H, s W), float32, of ``x``, which lies channels last; normalised and activated first if asked."""
    shape, frames = cuts.EXIT[cut], exit_constants(x, weight, transposed, stride)
    n, _, h, w = x.shape
    features, pixels = frames["F"], n * h * w
    terms = x.new_empty(features * weight.shape[2] * weight.shape[3], pixels)
    y = torch.empty(n, features, stride * h, stride * w, device=x.device)
    check_sizes(x, terms, y)
    nothing = Norm(weight, None, weight, weight, 1, 0.0, 1.0)  # pointers that are not followed
    stats, conv_bias, *running, calls, momentum, slope = norm or nothing
    moving = norm_launch.running_constants(calls, momentum, conv_bias)
    moving["HAS_NORM_BIAS"] = moving.pop("HAS_BIAS")
    rows = pixels // calls
    chunk, splits = share_out(rows, shape.block_m, x.device, calls)
    exit_terms_kernel[(splits, calls)](
        x, weight, stats, terms, weight if conv_bias is None else conv_bias, *running, calls, rows, chunk,
        *_weight_strides(weight, transposed), **terms_constants(x, weight, transposed, shape), NORM=norm is not None,
        SLOPE=slope, **moving, num_warps=shape.warps,
    )  # fmt: skip
    add_terms_kernel[(triton.cdiv(y.numel(), ADDED),)](
        terms, weight if bias is None else bias, y, y.numel(), pixels, **frames, SIGMOID=sigmoid,
        HAS_BIAS=bias is not None, BLOCK=ADDED, num_warps=4,
    )  # fmt: skip
    return y


def exit_gradients(
    grad: Tensor, x: Tensor, y: Tensor, weight: Tensor, transposed: bool, stride: int, sigmoid: bool, cut: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by ``x`` (channels last), ``weight`` and bias, the last two float32."""
    shape = cuts.EXIT_GRADIENTS[cut]
    return _gradients(grad, x, y, weight, transposed, stride, sigmoid, shape, weight, 1, 1.0, norm=False)[:3]


def norm_exit(
    x: Tensor, norm_weight: Tensor, norm_bias: Tensor, running_mean: Tensor, running_var: Tensor,
    conv_bias: Tensor | None, weight: Tensor, bias: Tensor | None, calls: int, momentum: float, eps: float,
    slope: float, transposed: bool, stride: int, cut: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Frames of the normalised and activated ``x``, and the statistics; the normalised map is never written."""
    stats = norm_launch.statistics(x, norm_weight, norm_bias, calls, eps)
    norm = Norm(stats, conv_bias, running_mean, running_var, calls, momentum, slope)
    return exit_(x, weight, bias, transposed, stride, False, cut, norm), stats


def norm_exit_gradients(
    grad: Tensor, x: Tensor, stats: Tensor, weight: Tensor, calls: int, eps: float, slope: float, transposed: bool,
    stride: int, cut: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Derivatives by x, the norm's weight and bias, the convolution's weight and bias."""
    settings = transposed, stride, False, cuts.NORM_EXIT_GRADIENTS[cut], stats, calls, slope
    by_z, by_weight, by_bias, sums = _gradients(grad, x, grad, weight, *settings, norm=True)
    return *norm_launch.derivatives(by_z, x, stats, sums, calls, 1, eps, 1.0), by_weight, by_bias


def _gradients(
    grad: Tensor, x: Tensor, y: Tensor, weight: Tensor, transposed: bool, stride: int, sigmoid: bool,
    shape: cuts.GradientCut, stats: Tensor, calls: int, slope: float, norm: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    constants = {**exit_constants(x, weight, transposed, stride), "SIGMOID": sigmoid, "C": x.shape[1]}
    check_sizes(x, grad)
    n, c, h, w = x.shape
    f, side = constants["F"], 4 if stride == 2 else 3
    columns, rows = block(16 * f), n // calls * h * w
    chunk, splits = share_out(rows, shape.block_m, x.device, calls)
    by_x = torch.empty_like(x)
    partial, partial_bias = grad.new_empty(calls * splits, c, columns), grad.new_empty(calls * splits, columns)
    sums = grad.new_empty(2, calls, splits, c) if norm else (weight, weight)
    exit_gradients_kernel[(splits, calls)](
        x, weight, y, grad, by_x, partial, partial_bias, stats, *sums, calls, rows, chunk,
        *_weight_strides(weight, transposed), *grad.stride(), **constants, NORM=norm, SLOPE=slope,
        BLOCK_M=shape.block_m, BLOCK_C=block(c), COLUMNS=columns, STAGES=shape.stages, num_warps=shape.warps,
    )  # fmt: skip
    by_weight = partial.sum(0)[:, : 16 * f].unflatten(1, (f, 16))[:, :, : side * side].unflatten(2, (side, side))
    if not transposed:
        by_weight = by_weight.flip(2, 3).transpose(0, 1)
    taps = partial_bias.sum(0)[: 16 * f].unflatten(0, (f, 16))[:, : side * side].unflatten(1, (side, side))
    # The windows of neighbours overlap: these taps meet every pixel of the gradient once.
    by_bias = taps[:, 1:3, 1:3].sum((1, 2)) if stride == 2 else taps[:, 1, 1].clone()
    return by_x, torch.empty_like(weight).copy_(by_weight), by_bias, sums


def _weight_strides(weight: Tensor, transposed: bool) -> tuple[int, int, int, int]:
    """By input channel, output channel, row and column."""
    first, second, row, column = weight.stride()
    return (first, second, row, column) if transposed else (second, first, row, column)
