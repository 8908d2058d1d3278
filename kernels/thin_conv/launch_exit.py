"""Launch the Triton kernels of an exit, alone or with the batch norm in front of it. Letters as in exit.py."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from kernels.call_norm import launch as norm_launch
from kernels.thin_conv import cuts
from kernels.thin_conv.entry import pad_kernel
from kernels.thin_conv.exit import add_terms_kernel, exit_terms_kernel
from kernels.thin_conv.exit_gradients import exit_gradients_kernel, norm_exit_gradient_kernel
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
    y = torch.empty(n, features, stride * h, stride * w, dtype=torch.float32, device=x.device)
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
    by_x = torch.empty_like(x)
    _, by_weight, by_bias, _ = _sums(grad, x, weight, transposed, stride, cuts.EXIT_GRADIENTS[cut], by_x)
    return by_x, by_weight, by_bias


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
    shape, norm = cuts.NORM_EXIT_GRADIENTS[cut], (stats, calls, slope)
    padded, by_weight, by_bias, sums = _sums(grad, x, weight, transposed, stride, shape, x, norm)
    factors = norm_launch.finish_sums(x, stats, sums, calls, 1, eps)
    by_x, by_norm = torch.empty_like(x), [stats.new_empty(x.shape[1]) for _ in range(2)]
    rows = x.numel() // x.shape[1] // calls
    chunk, splits = share_out(rows, shape.block_m, x.device, calls)
    norm_exit_gradient_kernel[(splits, calls)](
        x, weight, padded, stats, factors, by_x, *by_norm, calls, rows, chunk, *_weight_strides(weight, transposed),
        **gradient_constants(x, weight, transposed, stride, shape), SLOPE=slope,
        BLOCK_K=triton.next_power_of_2(calls), num_warps=shape.warps,
    )  # fmt: skip
    return by_x, *by_norm, by_weight, by_bias


def gradient_constants(
    x: Tensor, weight: Tensor, transposed: bool, stride: int, cut: cuts.GradientCut
) -> dict[str, object]:
    """What the kernels of the gradient know of an exit."""
    frames = frame_constants(x, weight, transposed, stride)
    kind = {"DOUBLES": stride == 2, "FLIPPED": transposed, "C": x.shape[1], "BLOCK_C": block(x.shape[1])}
    return {**frames, **kind, "BLOCK_M": cut.block_m, "STAGES": cut.stages}


def frame_constants(x: Tensor, weight: Tensor, transposed: bool, stride: int) -> dict[str, int]:
    """What the kernel that pads the frames' gradient knows of them."""
    f, (h, w) = weight.shape[1 if transposed else 0], x.shape[2:]
    # Products take columns in sixteens, asynchronous copies four bytes and more.
    channels = max(triton.next_power_of_2(f), 1 if stride == 2 else 2)
    rows, columns = (2 * h + 2, 2 * w + 2) if stride == 2 else (h + 3, w + 4)
    return {"F": f, "H": h, "W": w, "HP": rows, "WP": columns, "FP": channels}


def padding_constants(frames: dict[str, int], stride: int) -> dict[str, int]:
    """What the kernel that pads knows of the frames' gradient."""
    sizes = {"C": frames["F"], "H": stride * frames["H"], "W": stride * frames["W"], "CP": frames["FP"]}
    return {**sizes, "HP": frames["HP"], "WP": frames["WP"], "PADDING": 1, "BLOCK": PADDED}


def pad_gradient(grad: Tensor, frames: dict[str, int], stride: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The frames' gradient (N, HP, WP, FP) in ``dtype`` between zeros, and its sums over pixels (F,)."""
    padded = grad.new_empty(len(grad), *(frames[name] for name in ("HP", "WP", "FP")), dtype=dtype)
    check_sizes(grad, padded)
    pixels = padded.numel() // frames["FP"]
    programs = triton.cdiv(pixels, PADDED)
    partial = torch.empty(programs, frames["FP"], device=grad.device)
    pad_kernel[(programs,)](
        grad, padded, partial, pixels, *grad.stride(), **padding_constants(frames, stride), SUMS=True, num_warps=4
    )
    return padded, partial.sum(0)[: frames["F"]]


def _sums(
    grad: Tensor, x: Tensor, weight: Tensor, transposed: bool, stride: int, shape: cuts.GradientCut, by_x: Tensor,
    norm: tuple[Tensor, int, float] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The padded gradient, derivatives by weight and bias, and sums of dz with a ``norm``; without one fills ``by_x``.

    ``norm``: its statistics, its calls and its slope.
    """
    check_sizes(x)
    constants = gradient_constants(x, weight, transposed, stride, shape)
    padded, by_bias = pad_gradient(grad, frame_constants(x, weight, transposed, stride), stride, x.dtype)
    stats, calls, slope = norm or (weight, 1, 1.0)
    c, f, side = x.shape[1], constants["F"], weight.shape[2]
    rows = x.numel() // c // calls
    chunk, splits = share_out(rows, shape.block_m, x.device, calls)
    partial = weight.new_empty(calls * splits, 16 * constants["FP"], c, dtype=torch.float32)
    sums = weight.new_empty(2, calls, splits, c, dtype=torch.float32) if norm else weight.expand(2, *weight.shape)
    exit_gradients_kernel[(splits, calls)](
        x, weight, padded, by_x, partial, stats, *sums, calls, rows, chunk, *_weight_strides(weight, transposed),
        **constants, NORM=norm is not None, SLOPE=slope, num_warps=shape.warps,
    )  # fmt: skip
    by_weight = partial.sum(0).unflatten(0, (4, 4, -1))[:side, :side, :f].permute(3, 2, 0, 1)
    if not transposed:
        by_weight = by_weight.flip(2, 3).transpose(0, 1)
    return padded, torch.empty_like(weight).copy_(by_weight), by_bias, sums


def _weight_strides(weight: Tensor, transposed: bool) -> tuple[int, int, int, int]:
    """By input channel, output channel, row and column."""
    first, second, row, column = weight.stride()
    return (first, second, row, column) if transposed else (second, first, row, column)
