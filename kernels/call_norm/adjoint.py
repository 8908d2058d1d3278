"""Triton kernels of the adjoint: partial sums, their sum, then the derivative by x. Cut up as in forward.py.

The branch of the activation is read off the sign of scale * x + shift: y is not read.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.call_norm.forward import fewer_rows, turned


@triton.jit(do_not_specialize=["calls"])
def gradient_sums_kernel(
    grad,  # (K*M, C)
    x,  # (K*M, C)
    stats,  # (4, K, C)
    partial_dz,  # (K, S, C), written: sums of dz
    partial_dzx,  # (K, S, C), written: sums of dz * (x - mean)
    rows,  # M
    chunk,
    calls,  # K
    C: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    PARTS: tl.constexpr,
    STAGES: tl.constexpr,
    ACC: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = channel < C
    split = tl.program_id(1)
    call = tl.program_id(2)
    layer = calls * C
    place = stats + call * C + channel
    mean = tl.load(place, mask=alive, other=0.0)
    scale = tl.load(place + 2 * layer, mask=alive, other=0.0)
    shift = tl.load(place + 3 * layer, mask=alive, other=0.0)
    by_shift = tl.zeros([BLOCK_M // PARTS, BLOCK_C], ACC)
    by_scale = tl.zeros([BLOCK_M // PARTS, BLOCK_C], ACC)
    start = split * chunk
    end = tl.minimum(start + chunk, rows)
    offset = call.to(tl.int64) * rows * C
    for first in tl.range(start, end, BLOCK_M, num_stages=STAGES):
        row = first + tl.arange(0, BLOCK_M)
        inside = (row < end)[:, None] & alive[None, :]
        cell = offset + row[:, None] * C + channel[None, :]
        xs = tl.load(x + cell, mask=inside, other=0.0).to(ACC)
        dz = tl.load(grad + cell, mask=inside, other=0.0).to(ACC)
        dz = tl.where(xs * scale[None, :] + shift[None, :] > 0, dz, dz * SLOPE)
        by_shift += fewer_rows(dz, PARTS)
        by_scale += fewer_rows(dz * (xs - mean[None, :]), PARTS)
    out = (call * tl.num_programs(1) + split) * C + channel
    tl.store(partial_dz + out, tl.sum(by_shift, 0), mask=alive)
    tl.store(partial_dzx + out, tl.sum(by_scale, 0), mask=alive)


@triton.jit(do_not_specialize=["count", "splits"])
def finish_gradient_sums_kernel(
    partial_dz,  # (K, S, C)
    partial_dzx,  # (K, S, C)
    stats,  # (4, K, C)
    factors,  # (4, K, C), written: a call's derivatives by weight and bias; by_x = scale * dz + q * x + r as q, r
    count,  # values that ``stats`` are of: M, or R*M of several processes
    splits,  # S
    C: tl.constexpr,
    EPS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
    ACC: tl.constexpr,
):
    """With p = scale and the normalised x: by_x = p (dz - by_bias / M - normalised by_weight / M)."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = channel < C
    call = tl.program_id(1)
    s = tl.arange(0, BLOCK_S)
    there = (s < splits)[:, None] & alive[None, :]
    cell = (call * splits + s)[:, None] * C + channel[None, :]
    layer = tl.num_programs(1) * C
    place = stats + call * C + channel
    mean = tl.load(place, mask=alive, other=0.0)
    rstd = 1.0 / tl.sqrt(tl.load(place + layer, mask=alive, other=1.0) + EPS)
    scale = tl.load(place + 2 * layer, mask=alive, other=0.0)
    by_bias = tl.sum(tl.load(partial_dz + cell, mask=there, other=0.0), 0)
    by_weight = tl.sum(tl.load(partial_dzx + cell, mask=there, other=0.0), 0) * rstd
    count = count.to(ACC)
    slope = rstd * by_weight
    out = factors + call * C + channel
    tl.store(out, by_weight, mask=alive)
    tl.store(out + layer, by_bias, mask=alive)
    tl.store(out + 2 * layer, -scale * slope / count, mask=alive)
    tl.store(out + 3 * layer, -scale * (by_bias - mean * slope) / count, mask=alive)


@triton.jit
def add_up_calls(factors, by_weight, by_bias, channel, alive, calls, C: tl.constexpr, BLOCK_K: tl.constexpr):
    """Derivatives by weight and bias, (C,) each, from those of each call in ``factors`` (4, K, C)."""
    k = tl.arange(0, BLOCK_K)
    known = (k < calls)[:, None] & alive[None, :]
    each = factors + k[:, None] * C + channel[None, :]
    tl.store(by_weight + channel, tl.sum(tl.load(each, mask=known, other=0.0), 0), mask=alive)
    tl.store(by_bias + channel, tl.sum(tl.load(each + calls * C, mask=known, other=0.0), 0), mask=alive)


@triton.jit(do_not_specialize=["calls"])
def gradient_kernel(
    grad,  # (K*M, C)
    x,  # (K*M, C)
    stats,  # (4, K, C)
    factors,  # (4, K, C)
    by_x,  # (K*M, C), written
    by_weight,  # (C,), written
    by_bias,  # (C,), written
    rows,  # M
    chunk,
    calls,  # K
    C: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    STAGES: tl.constexpr,
    ACC: tl.constexpr,
):
    """The first program of each block of channels also adds up the calls' derivatives by weight and bias."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = channel < C
    split = turned(1)
    call = turned(2)
    layer = calls * C
    if (tl.program_id(1) == 0) & (tl.program_id(2) == 0):
        add_up_calls(factors, by_weight, by_bias, channel, alive, calls, C, BLOCK_K)
    place = 2 * layer + call * C + channel
    scale = tl.load(stats + place, mask=alive, other=0.0)
    shift = tl.load(stats + place + layer, mask=alive, other=0.0)
    q = tl.load(factors + place, mask=alive, other=0.0)
    r = tl.load(factors + place + layer, mask=alive, other=0.0)
    start = split * chunk
    end = tl.minimum(start + chunk, rows)
    offset = call.to(tl.int64) * rows * C
    tiles = tl.cdiv(end - start, BLOCK_M)
    for tile in tl.range(0, tiles, num_stages=STAGES):
        row = start + (tiles - 1 - tile) * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = (row < end)[:, None] & alive[None, :]
        cell = offset + row[:, None] * C + channel[None, :]
        xs = tl.load(x + cell, mask=inside, other=0.0).to(ACC)
        dz = tl.load(grad + cell, mask=inside, other=0.0).to(ACC)
        dz = tl.where(xs * scale[None, :] + shift[None, :] > 0, dz, dz * SLOPE)
        dx = scale[None, :] * dz + q[None, :] * xs + r[None, :]
        tl.store(by_x + cell, dx.to(by_x.dtype.element_ty), mask=inside)
