"""Launch the Triton kernels of an exit, alone or with the batch norm in front of it. Letters as in exit.py."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from kernels.call_norm import launch as norm_launch
from kernels.thin_conv import cuts
from kernels.thin_conv.exit import add_terms_kernel, exit_terms_kernel
from kernels.thin_conv.exit_gradients import exit_gradients_kernel, pad_gradient_kernel
from kernels.thin_conv.launch import PADDED, block, check_sizes, share_out

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
    x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, stride: int, cut: str,
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
        terms, weight if bias is None else bias, y, y.numel(), pixels, **frames, HAS_BIAS=bias is not None,
        BLOCK=ADDED, num_warps=4,
    )  # fmt: skip
    return y


def exit_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, transposed: bool, stride: int, cut: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by ``x`` (channels last), ``weight`` and bias, the last two float32."""
    shape = cuts.EXIT_GRADIENTS[cut]
    return _gradients(grad, x, weight, transposed, stride, shape, weight, 1, 1.0, norm=False)[:3]


def norm_exit(
    x: Tensor, norm_weight: Tensor, norm_bias: Tensor, running_mean: Tensor, running_var: Tensor,
    conv_bias: Tensor | None, weight: Tensor, bias: Tensor | None, calls: int, momentum: float, eps: float,
    slope: float, transposed: bool, stride: int, cut: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Frames of the normalised and activated ``x``, and the statistics; the normalised map is never written."""
    stats = norm_launch.statistics(x, norm_weight, norm_bias, calls, eps)
    norm = Norm(stats, conv_bias, running_mean, running_var, calls, momentum, slope)
    return exit_(x, weight, bias, transposed, stride, cut, norm), stats


def norm_exit_gradients(
    grad: Tensor, x: Tensor, stats: Tensor, weight: Tensor, calls: int, eps: float, slope: float, transposed: bool,
    stride: int, cut: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Derivatives by x, the norm's weight and bias, the convolution's weight and bias."""
    settings = transposed, stride, cuts.NORM_EXIT_GRADIENTS[cut], stats, calls, slope
    by_z, by_weight, by_bias, sums = _gradients(grad, x, weight, *settings, norm=True)
    return *norm_launch.derivatives(by_z, x, stats, sums, calls, 1, eps, 1.0), by_weight, by_bias


def gradient_constants(x: Tensor, frames: dict[str, object], cut: cuts.GradientCut) -> dict[str, object]:
    """What the kernel of the gradient knows of an exit with ``frames`` of ``frame_constants``."""
    sizes = {name: frames[name] for name in ("F", "H", "W", "HP", "WP", "FP")}
    return {**sizes, "C": x.shape[1], "BLOCK_C": block(x.shape[1]), "BLOCK_M": cut.block_m, "STAGES": cut.stages}


def frame_constants(x: Tensor, weight: Tensor, transposed: bool, stride: int) -> dict[str, int]:
    """What the kernel that pads the frames' gradient knows of them."""
    f, (h, w) = weight.shape[1 if transposed else 0], x.shape[2:]
    # Products take columns in sixteens, asynchronous copies four bytes and more.
    channels = max(triton.next_power_of_2(f), 1 if stride == 2 else 2)
    rows, columns = (2 * h + 2, 2 * w + 2) if stride == 2 else (h + 3, w + 4)
    return {"F": f, "H": h, "W": w, "HP": rows, "WP": columns, "FP": channels}


def pad_gradient(grad: Tensor, frames: dict[str, int], stride: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The frames' gradient (N, HP, WP, FP) in ``dtype`` between zeros, and its sums over pixels (F,)."""
    padded = grad.new_empty(len(grad), *(frames[name] for name in ("HP", "WP", "FP")), dtype=dtype)
    check_sizes(grad, padded)
    pixels = padded.numel() // frames["FP"]
    programs = triton.cdiv(pixels, PADDED)
    partial = grad.new_empty(programs, frames["FP"])
    pad_gradient_kernel[(programs,)](
        grad, padded, partial, pixels, *grad.stride(), **frames, STEP=stride, BLOCK=PADDED, num_warps=4
    )  # fmt: skip
    return padded, partial.sum(0)[: frames["F"]]


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, transposed: bool, stride: int,
    shape: cuts.GradientCut, stats: Tensor, calls: int, slope: float, norm: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    check_sizes(x)
    frames = frame_constants(x, weight, transposed, stride)
    padded, by_bias = pad_gradient(grad, frames, stride, x.dtype)
    n, c, h, w = x.shape
    f, side, rows = frames["F"], weight.shape[2], n // calls * h * w
    chunk, splits = share_out(rows, shape.block_m, x.device, calls)
    by_x, partial = torch.empty_like(x), grad.new_empty(calls * splits, 16 * frames["FP"], c)
    sums = grad.new_empty(2, calls, splits, c) if norm else (weight, weight)
    exit_gradients_kernel[(splits, calls)](
        x, weight, padded, by_x, partial, stats, *sums, calls, rows, chunk, *_weight_strides(weight, transposed),
        **gradient_constants(x, frames, shape), DOUBLES=stride == 2, FLIPPED=transposed, NORM=norm, SLOPE=slope,
        num_warps=shape.warps,
    )  # fmt: skip
    by_weight = partial.sum(0).unflatten(0, (4, 4, -1))[:side, :side, :f].permute(3, 2, 0, 1)
    if not transposed:
        by_weight = by_weight.flip(2, 3).transpose(0, 1)
    return by_x, torch.empty_like(weight).copy_(by_weight), by_bias, sums


def _weight_strides(weight: Tensor, transposed: bool) -> tuple[int, int, int, int]:
    """By input channel, output channel, row and column."""
    first, second, row, column = weight.stride()
    return (first, second, row, column) if transposed else (second, first, row, column)
