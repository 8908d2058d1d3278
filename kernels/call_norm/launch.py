"""Launch the Triton kernels: shapes of tiles, grids, buffers. Letters as in kernel.py."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.call_norm import kernel

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

TILE = 4096
"""Elements that a program holds of each matrix at a time."""
MAX_BLOCK_C = 64
PROGRAMS = 1024
"""About as many programs as fill the largest GPU a few times over."""
MAX_SPLITS = 64


class Plan(NamedTuple):
    """How one matrix is cut up."""

    grid: tuple[int, int, int]
    rows: int
    chunk: int
    splits: int
    constants: dict[str, object]


def tile_shape(channels: int) -> tuple[int, int]:
    """BLOCK_M and BLOCK_C for a number of channels."""
    block_c = min(MAX_BLOCK_C, triton.next_power_of_2(channels))
    return TILE // block_c, block_c


def plan(x: Tensor, calls: int) -> Plan:
    """Cut up ``x`` (K*B, C, H, W), channels last."""
    images, channels, height, width = x.shape
    rows = images // calls * height * width
    block_m, block_c = tile_shape(channels)
    channel_blocks = triton.cdiv(channels, block_c)
    splits = min(triton.cdiv(rows, block_m), triton.cdiv(PROGRAMS, calls * channel_blocks), MAX_SPLITS)
    chunk = triton.cdiv(triton.cdiv(rows, splits), block_m) * block_m
    splits = triton.cdiv(rows, chunk)  # no chunk is empty
    acc = tl.float64 if x.dtype == torch.float64 else tl.float32
    constants = {"C": channels, "BLOCK_M": block_m, "BLOCK_C": block_c, "ACC": acc}
    return Plan((channel_blocks, splits, calls), rows, chunk, splits, constants)


def forward(
    x: Tensor, weight: Tensor, bias: Tensor, calls: int, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """y like ``x``, mean and biased variance (K, C); ``x`` lies channels last."""
    p = plan(x, calls)
    means, m2s = _sums(x, weight, calls, p), _sums(x, weight, calls, p)
    mean, var = weight.new_empty(calls, x.shape[1]), weight.new_empty(calls, x.shape[1])
    y = torch.empty_like(x)
    kernel.statistics_kernel[p.grid](x, means, m2s, p.rows, p.chunk, **p.constants, num_warps=4)
    kernel.normalise_kernel[p.grid](
        x, means, m2s, weight, bias, y, mean, var, p.rows, p.chunk, EPS=eps, SLOPE=slope, **p.constants, num_warps=4
    )
    return y, mean, var


def backward(
    grad: Tensor, x: Tensor, y: Tensor, mean: Tensor, var: Tensor, weight: Tensor, calls: int, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by x, weight and bias; ``grad``, ``x`` and ``y`` lie channels last."""
    p = plan(x, calls)
    weight_sums, bias_sums = _sums(x, weight, calls, p), _sums(x, weight, calls, p)
    by_x = torch.empty_like(x)
    rest = {"EPS": eps, "SLOPE": slope, **p.constants, "num_warps": 4}
    kernel.gradient_sums_kernel[p.grid](grad, x, y, mean, var, weight_sums, bias_sums, p.rows, p.chunk, **rest)
    kernel.gradient_kernel[p.grid](grad, x, y, mean, var, weight, weight_sums, bias_sums, by_x, p.rows, p.chunk, **rest)
    return by_x, weight_sums.sum((0, 1)), bias_sums.sum((0, 1))


def _sums(x: Tensor, weight: Tensor, calls: int, p: Plan) -> Tensor:
    return weight.new_empty(calls, p.splits, x.shape[1])
