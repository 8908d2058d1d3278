"""Triton kernels of the forward pass: partial sums, their sum, then normalise and activate.

A channels-last batch is a matrix of K*M rows and C columns; call k owns rows k*M to (k+1)*M. A program owns one call,
BLOCK_C channels and ``chunk`` rows. Partial sums lie in (K, S, C) and are added in a fixed order, so that results are
the same from run to run. Letters as in reference.py; S chunks a call.

The pass that writes the result goes the way of the sums before it backwards (``turned``): what they read last is still
in the cache.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def turned(axis: tl.constexpr):
    """The program's number along ``axis`` counted from the last."""
    return tl.num_programs(axis) - 1 - tl.program_id(axis)


@triton.jit
def fewer_rows(tile, PARTS: tl.constexpr):
    """The sums of rows of a tile (rows, C) that lie rows / PARTS apart, (rows / PARTS, C).

    A thread holds such rows anyway: nothing is exchanged, and what sums are kept in takes so many registers less.
    """
    return tl.sum(tl.reshape(tile, (PARTS, tile.shape[0] // PARTS, tile.shape[1])), 0)


@triton.jit
def statistics_kernel(
    x,  # (K*M, C)
    partial_mean,  # (K, S, C), written
    partial_m2,  # (K, S, C), written: sums of squared deviations from it
    rows,  # M
    chunk,
    C: tl.constexpr,
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
    start = split * chunk
    end = tl.minimum(start + chunk, rows)
    base = x + call.to(tl.int64) * rows * C
    # Deviations from a pivot, the chunk's first row, keep the digits that a large mean would cost, and threads need to
    # meet once at the end instead of once a tile.
    pivot = tl.load(base + start * C + channel, mask=alive, other=0.0).to(ACC)
    total = tl.zeros([BLOCK_M // PARTS, BLOCK_C], ACC)
    squares = tl.zeros([BLOCK_M // PARTS, BLOCK_C], ACC)
    for first in tl.range(start, end, BLOCK_M, num_stages=STAGES):
        row = first + tl.arange(0, BLOCK_M)
        inside = (row < end)[:, None] & alive[None, :]
        tile = tl.load(base + row[:, None] * C + channel[None, :], mask=inside, other=0.0).to(ACC)
        off = tl.where(inside, tile - pivot[None, :], 0.0)
        total += fewer_rows(off, PARTS)
        squares += fewer_rows(off * off, PARTS)
    count = (end - start).to(ACC)
    shift = tl.sum(total, 0) / count
    out = (call * tl.num_programs(1) + split) * C + channel
    tl.store(partial_mean + out, pivot + shift, mask=alive)
    tl.store(partial_m2 + out, tl.maximum(tl.sum(squares, 0) - shift * shift * count, 0.0), mask=alive)


@triton.jit(do_not_specialize=["rows", "splits"])
def finish_statistics_kernel(
    partial_mean,  # (K, S, C)
    partial_m2,  # (K, S, C)
    weight,  # (C,)
    bias,  # (C,)
    stats,  # (4, K, C), written: mean, biased variance, and the norm as scale * x + shift
    rows,  # M
    chunk,
    splits,  # S
    C: tl.constexpr,
    EPS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
    ACC: tl.constexpr,
):
    """All partial sums of a call and BLOCK_C channels at once: a walk over them would cost a memory latency a step."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = channel < C
    call = tl.program_id(1)
    s = tl.arange(0, BLOCK_S)
    there = (s < splits)[:, None] & alive[None, :]
    cell = (call * splits + s)[:, None] * C + channel[None, :]
    part = tl.load(partial_mean + cell, mask=there, other=0.0)
    inner = tl.load(partial_m2 + cell, mask=there, other=0.0)
    count = tl.where(s < splits, tl.minimum(rows - s * chunk, chunk), 0).to(ACC)[:, None]
    everything = rows.to(ACC)
    mean = tl.sum(part * count, 0) / everything
    off = part - mean[None, :]
    var = tl.sum(inner + off * off * count, 0) / everything
    scale = tl.load(weight + channel, mask=alive, other=0.0) / tl.sqrt(var + EPS)
    shift = tl.load(bias + channel, mask=alive, other=0.0) - mean * scale
    layer = tl.num_programs(1) * C
    out = stats + call * C + channel
    tl.store(out, mean, mask=alive)
    tl.store(out + layer, var, mask=alive)
    tl.store(out + 2 * layer, scale, mask=alive)
    tl.store(out + 3 * layer, shift, mask=alive)


@triton.jit
def move_running(
    stats,  # (4, K, C)
    conv_bias,  # (C,), read if HAS_BIAS
    running_mean,  # (C,), updated
    running_var,  # (C,), updated
    channel,
    alive,
    count,
    calls,
    MOMENTUM: tl.constexpr,
    LOG_KEEP: tl.constexpr,  # log2(1 - MOMENTUM)
    HAS_BIAS: tl.constexpr,
    C: tl.constexpr,
    BLOCK_K: tl.constexpr,
    ACC: tl.constexpr,
):
    """r <- (1-m)^K r + sum_k m (1-m)^(K-1-k) x_k: what K updates in the order of the calls come to."""
    k = tl.arange(0, BLOCK_K)
    known = (k < calls)[:, None] & alive[None, :]
    age = tl.where(k < calls, calls - 1 - k, 0).to(ACC)
    share = tl.where(k < calls, MOMENTUM * tl.exp2(age * LOG_KEEP), 0.0)[:, None]
    left = 1.0 - tl.sum(tl.sum(share, 1), 0)
    cell = k[:, None] * C + channel[None, :]
    mean = tl.sum(tl.load(stats + cell, mask=known, other=0.0) * share, 0)
    var = tl.sum(tl.load(stats + calls * C + cell, mask=known, other=0.0) * share, 0)
    if HAS_BIAS:
        mean += (1.0 - left) * tl.load(conv_bias + channel, mask=alive, other=0.0)
    var *= count.to(ACC) / (count - 1).to(ACC)  # unbiased
    mean += left * tl.load(running_mean + channel, mask=alive, other=0.0)
    var += left * tl.load(running_var + channel, mask=alive, other=0.0)
    tl.store(running_mean + channel, mean, mask=alive)
    tl.store(running_var + channel, var, mask=alive)


@triton.jit(do_not_specialize=["calls", "count"])
def normalise_kernel(
    x,  # (K*M, C)
    stats,  # (4, K, C)
    y,  # (K*M, C), written
    conv_bias,  # (C,), read if HAS_BIAS
    running_mean,  # (C,), updated
    running_var,  # (C,), updated
    rows,  # M
    count,  # values that ``stats`` are of: M, or R*M of several processes
    chunk,
    calls,  # K
    MOMENTUM: tl.constexpr,
    LOG_KEEP: tl.constexpr,  # log2(1 - MOMENTUM)
    HAS_BIAS: tl.constexpr,
    C: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    STAGES: tl.constexpr,
    ACC: tl.constexpr,
):
    """The first program of each block of channels also moves the running statistics: no launch of their own."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = channel < C
    split = turned(1)
    call = turned(2)
    if (tl.program_id(1) == 0) & (tl.program_id(2) == 0):
        move_running(
            stats, conv_bias, running_mean, running_var, channel, alive, count, calls,
            MOMENTUM, LOG_KEEP, HAS_BIAS, C, BLOCK_K, ACC,
        )  # fmt: skip
    layer = calls * C
    scale = tl.load(stats + 2 * layer + call * C + channel, mask=alive, other=0.0)
    shift = tl.load(stats + 3 * layer + call * C + channel, mask=alive, other=0.0)
    start = split * chunk
    end = tl.minimum(start + chunk, rows)
    offset = call.to(tl.int64) * rows * C
    tiles = tl.cdiv(end - start, BLOCK_M)
    for tile in tl.range(0, tiles, num_stages=STAGES):
        row = start + (tiles - 1 - tile) * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = (row < end)[:, None] & alive[None, :]
        cell = offset + row[:, None] * C + channel[None, :]
        z = tl.load(x + cell, mask=inside, other=0.0).to(ACC) * scale[None, :] + shift[None, :]
        tl.store(y + cell, tl.where(z > 0, z, z * SLOPE).to(y.dtype.element_ty), mask=inside)
