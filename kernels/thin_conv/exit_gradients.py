"""The Triton kernel of an exit's gradient. Letters as in exit.py."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["calls"])
def exit_gradients_kernel(
    x,  # (M, C)
    w,  # weight with strides by C, F, row and column
    y,  # (N, F, s H, s W) with strides, read if SIGMOID
    grad,  # like y
    by_x,  # (M, C), written
    partial,  # (S, C, COLUMNS), written: derivatives by the weight
    partial_bias,  # (S, COLUMNS), written: sums of the gradient by tap
    stats,  # (4, K, C) as call_norm keeps them, read if NORM
    partial_dz,  # (K, S/K, C), written if NORM: as by call_norm's gradient_sums_kernel
    partial_dzx,  # (K, S/K, C), written if NORM
    calls,  # K
    rows,  # M / K
    chunk,
    swc,
    swf,
    swh,
    sww,
    syn,
    syf,
    syh,
    syw,
    C: tl.constexpr,
    F: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    DOUBLES: tl.constexpr,
    FLIPPED: tl.constexpr,
    SIGMOID: tl.constexpr,
    NORM: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """All three derivatives from one reading: a pixel's window of the gradient, times the weight and times the pixel.

    The window is 4x4 around (2h, 2w) with DOUBLES, else 3x3 around (h, w). Column k is channel k // 16, tap k % 16. A
    program owns ``chunk`` pixels of one call.

    With NORM as in exit_terms_kernel; by_x is then the derivative by what the norm gives in front of LeakyReLU, and its
    sums are what the norm's own derivatives need.
    """
    SIDE: tl.constexpr = 4 if DOUBLES else 3
    STEP: tl.constexpr = 2 if DOUBLES else 1
    k = tl.arange(0, COLUMNS)
    f = k // 16
    kh = k % 16 // SIDE
    kw = k % 16 % SIDE
    real = (f < F) & (k % 16 < SIDE * SIDE)
    wh = kh if DOUBLES or FLIPPED else SIDE - 1 - kh  # the weight that the window's row meets
    ww = kw if DOUBLES or FLIPPED else SIDE - 1 - kw
    c = tl.arange(0, BLOCK_C)
    weight = tl.load(
        w + (f * swf + wh * swh + ww * sww)[:, None] + c[None, :] * swc,
        mask=real[:, None] & (c < C)[None, :],
        other=0.0,
    ).to(x.dtype.element_ty)
    call = tl.program_id(1)
    if NORM:
        row_of_stats = stats + call * C + c
        mean = tl.load(row_of_stats, mask=c < C, other=0.0)
        scale = tl.load(row_of_stats + 2 * calls * C, mask=c < C, other=0.0)
        shift = tl.load(row_of_stats + 3 * calls * C, mask=c < C, other=0.0)
        by_shift = tl.zeros([BLOCK_C], tl.float32)
        by_scale = tl.zeros([BLOCK_C], tl.float32)
    acc = tl.zeros([BLOCK_C, COLUMNS], tl.float32)
    by_bias = tl.zeros([COLUMNS], tl.float32)
    start = tl.program_id(0) * chunk
    end = tl.minimum(start + chunk, rows)
    for first in tl.range(start, end, BLOCK_M, num_stages=STAGES):
        alive = first + tl.arange(0, BLOCK_M) < end
        px = call * rows + first + tl.arange(0, BLOCK_M)
        oh = (px // W % H * STEP - 1)[:, None] + kh[None, :]
        ow = (px % W * STEP - 1)[:, None] + kw[None, :]
        inside = alive[:, None] & real[None, :] & (oh >= 0) & (oh < STEP * H) & (ow >= 0) & (ow < STEP * W)
        cell = (px // (H * W))[:, None] * syn + f[None, :] * syf + oh * syh + ow * syw
        g = tl.load(grad + cell, mask=inside, other=0.0).to(tl.float32)
        if SIGMOID:
            s = tl.load(y + cell, mask=inside, other=0.0).to(tl.float32)
            g = g * s * (1.0 - s)
        by_bias += tl.sum(g, 0)
        g = g.to(x.dtype.element_ty)
        place = px[:, None] * C + c[None, :]
        there = alive[:, None] & (c < C)[None, :]
        tile = tl.load(x + place, mask=there, other=0.0)
        dx = tl.dot(g, weight, input_precision="ieee")
        if NORM:
            xs = tile.to(tl.float32)
            z = xs * scale[None, :] + shift[None, :]
            dx = tl.where(there, tl.where(z > 0, dx, dx * SLOPE), 0.0)
            by_shift += tl.sum(dx, 0)
            by_scale += tl.sum(dx * (xs - mean[None, :]), 0)
            tile = tl.where(there, tl.where(z > 0, z, z * SLOPE), 0.0).to(tile.dtype)
        tl.store(by_x + place, dx.to(by_x.dtype.element_ty), mask=there)
        acc = tl.dot(tl.trans(tile), g, acc, input_precision="ieee")
    split = call * tl.num_programs(0) + tl.program_id(0)
    tl.store(partial + (split * C + c)[:, None] * COLUMNS + k[None, :], acc, mask=(c < C)[:, None] & (k[None, :] >= 0))
    tl.store(partial_bias + split * COLUMNS + k, by_bias)
    if NORM:
        tl.store(partial_dz + split * C + c, by_shift, mask=c < C)
        tl.store(partial_dzx + split * C + c, by_scale, mask=c < C)
