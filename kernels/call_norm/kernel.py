"""Triton kernels: partial sums, then normalise and activate; the same twice for the adjoint.

A channels-last batch is a matrix of K*M rows and C columns; call k owns rows k*M to (k+1)*M. A program owns one call,
BLOCK_C channels and ``chunk`` rows. Partial sums lie in (K, S, C) and are added in a fixed order, so that results are
the same from run to run. Letters as in reference.py; S chunks a call.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def merge(count, mean, m2, count_b, mean_b, m2_b):
    """Mean and sum of squared deviations of two samples together (Chan, Golub, LeVeque 1983)."""
    total = count + count_b
    delta = mean_b - mean
    share = count_b / total
    return total, mean + delta * share, m2 + m2_b + delta * delta * count * share


@triton.jit
def statistics_kernel(
    x,  # (K*M, C)
    means,  # (K, S, C), written
    m2s,  # (K, S, C), written
    rows,  # M
    chunk,
    C: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    split = tl.program_id(1)
    call = tl.program_id(2)
    start = split * chunk
    end = tl.minimum(start + chunk, rows)
    base = x + call.to(tl.int64) * rows * C
    count = tl.zeros([1], ACC)
    mean = tl.zeros([BLOCK_C], ACC)
    m2 = tl.zeros([BLOCK_C], ACC)
    for first in range(start, end, BLOCK_M):
        row = first + tl.arange(0, BLOCK_M)
        inside = (row < end)[:, None] & (channel < C)[None, :]
        tile = tl.load(base + row[:, None] * C + channel[None, :], mask=inside, other=0.0).to(ACC)
        count_b = tl.zeros([1], ACC) + tl.minimum(end - first, BLOCK_M).to(ACC)
        mean_b = tl.sum(tile, 0) / count_b
        off = tl.where(inside, tile - mean_b[None, :], 0.0)
        count, mean, m2 = merge(count, mean, m2, count_b, mean_b, tl.sum(off * off, 0))
    out = (call * tl.num_programs(1) + split) * C + channel
    tl.store(means + out, mean, mask=channel < C)
    tl.store(m2s + out, m2, mask=channel < C)


@triton.jit
def normalise_kernel(
    x,  # (K*M, C)
    means,  # (K, S, C)
    m2s,  # (K, S, C)
    weight,  # (C,)
    bias,  # (C,)
    y,  # (K*M, C), written
    mean_out,  # (K, C), written
    var_out,  # (K, C), written
    rows,  # M
    chunk,
    C: tl.constexpr,
    EPS: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = channel < C
    split = tl.program_id(1)
    call = tl.program_id(2)
    splits = tl.num_programs(1)
    count = tl.zeros([1], ACC)
    mean = tl.zeros([BLOCK_C], ACC)
    m2 = tl.zeros([BLOCK_C], ACC)
    for s in range(0, splits):
        part = (call * splits + s) * C + channel
        count_b = tl.zeros([1], ACC) + tl.minimum(rows - s * chunk, chunk).to(ACC)
        mean_b = tl.load(means + part, mask=alive, other=0.0)
        m2_b = tl.load(m2s + part, mask=alive, other=0.0)
        count, mean, m2 = merge(count, mean, m2, count_b, mean_b, m2_b)
    var = m2 / count
    if split == 0:
        tl.store(mean_out + call * C + channel, mean, mask=alive)
        tl.store(var_out + call * C + channel, var, mask=alive)
    scale = tl.load(weight + channel, mask=alive, other=0.0).to(ACC) / tl.sqrt(var + EPS)
    shift = tl.load(bias + channel, mask=alive, other=0.0).to(ACC) - mean * scale
    start = split * chunk
    end = tl.minimum(start + chunk, rows)
    offset = call.to(tl.int64) * rows * C
    for first in range(start, end, BLOCK_M):
        row = first + tl.arange(0, BLOCK_M)
        inside = (row < end)[:, None] & alive[None, :]
        cell = offset + row[:, None] * C + channel[None, :]
        z = tl.load(x + cell, mask=inside, other=0.0).to(ACC) * scale[None, :] + shift[None, :]
        tl.store(y + cell, tl.where(z > 0, z, z * SLOPE).to(y.dtype.element_ty), mask=inside)


@triton.jit
def gradient_sums_kernel(
    grad,  # (K*M, C)
    x,  # (K*M, C)
    y,  # (K*M, C)
    mean,  # (K, C)
    var,  # (K, C)
    weight_sums,  # (K, S, C), written: sums of dz * normalised x
    bias_sums,  # (K, S, C), written: sums of dz
    rows,  # M
    chunk,
    C: tl.constexpr,
    EPS: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = channel < C
    split = tl.program_id(1)
    call = tl.program_id(2)
    mu = tl.load(mean + call * C + channel, mask=alive, other=0.0)
    rstd = 1.0 / tl.sqrt(tl.load(var + call * C + channel, mask=alive, other=1.0) + EPS)
    by_weight = tl.zeros([BLOCK_C], ACC)
    by_bias = tl.zeros([BLOCK_C], ACC)
    start = split * chunk
    end = tl.minimum(start + chunk, rows)
    offset = call.to(tl.int64) * rows * C
    for first in range(start, end, BLOCK_M):
        row = first + tl.arange(0, BLOCK_M)
        inside = (row < end)[:, None] & alive[None, :]
        cell = offset + row[:, None] * C + channel[None, :]
        dz = tl.load(grad + cell, mask=inside, other=0.0).to(ACC)
        dz = tl.where(tl.load(y + cell, mask=inside, other=0.0) > 0, dz, dz * SLOPE)
        normalised = (tl.load(x + cell, mask=inside, other=0.0).to(ACC) - mu[None, :]) * rstd[None, :]
        by_weight += tl.sum(dz * normalised, 0)
        by_bias += tl.sum(dz, 0)
    out = (call * tl.num_programs(1) + split) * C + channel
    tl.store(weight_sums + out, by_weight, mask=alive)
    tl.store(bias_sums + out, by_bias, mask=alive)


@triton.jit
def gradient_kernel(
    grad,  # (K*M, C)
    x,  # (K*M, C)
    y,  # (K*M, C)
    mean,  # (K, C)
    var,  # (K, C)
    weight,  # (C,)
    weight_sums,  # (K, S, C)
    bias_sums,  # (K, S, C)
    by_x,  # (K*M, C), written
    rows,  # M
    chunk,
    C: tl.constexpr,
    EPS: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = channel < C
    split = tl.program_id(1)
    call = tl.program_id(2)
    splits = tl.num_programs(1)
    by_weight = tl.zeros([BLOCK_C], ACC)
    by_bias = tl.zeros([BLOCK_C], ACC)
    for s in range(0, splits):
        part = (call * splits + s) * C + channel
        by_weight += tl.load(weight_sums + part, mask=alive, other=0.0)
        by_bias += tl.load(bias_sums + part, mask=alive, other=0.0)
    count = tl.zeros([1], ACC) + rows.to(ACC)
    mu = tl.load(mean + call * C + channel, mask=alive, other=0.0)
    rstd = 1.0 / tl.sqrt(tl.load(var + call * C + channel, mask=alive, other=1.0) + EPS)
    scale = tl.load(weight + channel, mask=alive, other=0.0).to(ACC) * rstd
    by_weight = by_weight / count
    by_bias = by_bias / count
    start = split * chunk
    end = tl.minimum(start + chunk, rows)
    offset = call.to(tl.int64) * rows * C
    for first in range(start, end, BLOCK_M):
        row = first + tl.arange(0, BLOCK_M)
        inside = (row < end)[:, None] & alive[None, :]
        cell = offset + row[:, None] * C + channel[None, :]
        dz = tl.load(grad + cell, mask=inside, other=0.0).to(ACC)
        dz = tl.where(tl.load(y + cell, mask=inside, other=0.0) > 0, dz, dz * SLOPE)
        normalised = (tl.load(x + cell, mask=inside, other=0.0).to(ACC) - mu[None, :]) * rstd[None, :]
        dx = scale[None, :] * (dz - by_bias[None, :] - normalised * by_weight[None, :])
        tl.store(by_x + cell, dx.to(by_x.dtype.element_ty), mask=inside)
