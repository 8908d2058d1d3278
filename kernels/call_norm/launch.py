"""Launch the Triton kernels: shapes of tiles, grids, buffers. Letters as in forward.py."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.call_norm import adjoint
from kernels.call_norm import forward as kernels
from kernels.gpu import multiprocessors

TILE = 4096
"""Elements that a program holds of each matrix at a time."""
MAX_BLOCK_C = 64
PARTS = 4
"""Rows of such a tile that a thread holds of each channel, in a half type."""
PROGRAMS_PER_SM = 5
"""As many as each of the kernels finds registers for: all run at once, with enough loads in flight for the memory."""
MAX_SPLITS = 512
"""The kernels between hold one partial sum of each chunk at once."""
FINISH_BLOCK_C = 16


class Plan(NamedTuple):
    """How one matrix is cut up: for the kernels that pass over it, and for those that add up partial sums."""

    grid: tuple[int, int, int]
    finish_grid: tuple[int, int]
    rows: int
    chunk: int
    splits: int
    constants: dict[str, object]
    finish: dict[str, object]


def tile_shape(channels: int) -> tuple[int, int]:
    """BLOCK_M and BLOCK_C for a number of channels."""
    block_c = min(MAX_BLOCK_C, triton.next_power_of_2(channels))
    # Few channels: addresses and masks of single elements take the registers.
    return (TILE if block_c >= 16 else TILE // 4) // block_c, block_c


def plan(x: Tensor, calls: int) -> Plan:
    """Cut up ``x`` (K*B, C, H, W), channels last."""
    images, channels, height, width = x.shape
    rows = images // calls * height * width
    block_m, block_c = tile_shape(channels)
    channel_blocks = triton.cdiv(channels, block_c)
    at_once = PROGRAMS_PER_SM * multiprocessors(x.device)
    wanted = max(1, at_once // (calls * channel_blocks))  # one too many would wait for all the others
    splits = min(triton.cdiv(rows, block_m), wanted, MAX_SPLITS)
    chunk = triton.cdiv(triton.cdiv(rows, splits), block_m) * block_m
    splits = triton.cdiv(rows, chunk)  # no chunk is empty
    double = x.dtype == torch.float64
    acc = tl.float64 if double else tl.float32
    tile = {"BLOCK_M": block_m, "BLOCK_C": block_c, "STAGES": 1 if double else 3}
    return Plan(
        (channel_blocks, splits, calls),
        (triton.cdiv(channels, FINISH_BLOCK_C), calls),
        rows,
        chunk,
        splits,
        {"C": channels, "ACC": acc, "num_warps": 4, **tile},
        {"C": channels, "ACC": acc, "num_warps": 4, "BLOCK_C": FINISH_BLOCK_C},
    )


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    conv_bias: Tensor | None,
    calls: int,
    momentum: float,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor]:
    """y like ``x``, which lies channels last, and (4, K, C): mean, biased variance, scale and shift."""
    stats = statistics(x, weight, bias, calls, eps)
    return normalise(x, stats, running_mean, running_var, conv_bias, calls, 1, momentum, slope), stats


def statistics(x: Tensor, weight: Tensor, bias: Tensor, calls: int, eps: float) -> Tensor:
    """(4, K, C): mean, biased variance, scale and shift; ``x`` lies channels last."""
    p = plan(x, calls)
    stats = weight.new_empty(4, calls, x.shape[1])
    means, m2s = weight.new_empty(2, calls, p.splits, x.shape[1])
    kernels.statistics_kernel[p.grid](x, means, m2s, p.rows, p.chunk, PARTS=PARTS, **p.constants)
    kernels.finish_statistics_kernel[p.finish_grid](
        means, m2s, weight, bias, stats, p.rows, p.chunk, p.splits, EPS=eps,
        BLOCK_S=triton.next_power_of_2(p.splits), **p.finish,
    )  # fmt: skip
    return stats


def normalise(
    x: Tensor, stats: Tensor, running_mean: Tensor, running_var: Tensor, conv_bias: Tensor | None,
    calls: int, ranks: int, momentum: float, slope: float,
) -> Tensor:  # fmt: skip
    """y like ``x``; ``stats`` are of as many images in each of ``ranks`` processes."""
    p, y = plan(x, calls), torch.empty_like(x)
    kernels.normalise_kernel[p.grid](
        x, stats, y, running_mean if conv_bias is None else conv_bias, running_mean, running_var,
        p.rows, ranks * p.rows, p.chunk, calls,
        **running_constants(calls, momentum, conv_bias), SLOPE=slope, **p.constants,
    )  # fmt: skip
    return y


def running_constants(calls: int, momentum: float, conv_bias: Tensor | None) -> dict[str, object]:
    """What ``move_running`` knows."""
    log_keep, block_k = math.log2(1.0 - momentum), triton.next_power_of_2(calls)
    return {"MOMENTUM": momentum, "LOG_KEEP": log_keep, "HAS_BIAS": conv_bias is not None, "BLOCK_K": block_k}


def backward(
    grad: Tensor, x: Tensor, stats: Tensor, calls: int, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by x, weight and bias; ``grad`` and ``x`` lie channels last."""
    return derivatives(grad, x, stats, partial_sums(grad, x, stats, calls, slope), calls, 1, eps, slope)


def partial_sums(grad: Tensor, x: Tensor, stats: Tensor, calls: int, slope: float) -> Tensor:
    """(2, K, S, C): sums of dz and of dz * (x - mean) over chunks."""
    p = plan(x, calls)
    dz, dzx = sums = stats.new_empty(2, calls, p.splits, x.shape[1])
    adjoint.gradient_sums_kernel[p.grid](
        grad, x, stats, dz, dzx, p.rows, p.chunk, calls, SLOPE=slope, PARTS=PARTS, **p.constants
    )
    return sums


def finish_sums(x: Tensor, stats: Tensor, sums: Tensor, calls: int, ranks: int, eps: float) -> Tensor:
    """(4, K, C) from ``partial_sums``: a call's derivatives by weight and bias; q and r of that by x."""
    p, factors, splits = plan(x, calls), torch.empty_like(stats), sums.shape[2]
    adjoint.finish_gradient_sums_kernel[p.finish_grid](
        *sums, stats, factors, ranks * p.rows, splits, EPS=eps, BLOCK_S=triton.next_power_of_2(splits), **p.finish
    )
    return factors


def derivatives(
    grad: Tensor, x: Tensor, stats: Tensor, sums: Tensor, calls: int, ranks: int, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by x, weight and bias from ``partial_sums``, of as many images in each of ``ranks`` processes."""
    p, by_x, factors = plan(x, calls), torch.empty_like(x), finish_sums(x, stats, sums, calls, ranks, eps)
    by_weight, by_bias = stats.new_empty(x.shape[1]), stats.new_empty(x.shape[1])
    adjoint.gradient_kernel[p.grid](
        grad, x, stats, factors, by_x, by_weight, by_bias, p.rows, p.chunk, calls,
        SLOPE=slope, BLOCK_K=triton.next_power_of_2(calls), **p.constants,
    )  # fmt: skip
    return by_x, by_weight, by_bias
