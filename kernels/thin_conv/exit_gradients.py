"""Triton kernels of an exit's gradient, alone or with the batch norm in front of it. Letters as in exit.py.

First the frames' gradient is written once as products want it, by entry.py's pad_kernel: in the half type, channels
last and FP of them, a power of two, with a zero border, HP x WP pixels. Then the window of a pixel of the map is four
rows of 4 FP numbers in a row, which are loaded ahead and need no masks; column k of it is row k // 4 FP, column
k // FP % 4 and channel k % FP. It is 4x4 around (2h, 2w) with DOUBLES, else 3x3 around (h, w), where zero weights meet
the fourth row and column.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.call_norm.adjoint import add_up_calls
from kernels.call_norm.forward import turned


@triton.jit
def weight_of_columns(
    w, k, c, swc, swf, swh, sww,
    C: tl.constexpr, F: tl.constexpr, FP: tl.constexpr, DOUBLES: tl.constexpr, FLIPPED: tl.constexpr,
):  # fmt: skip
    """What each column of a window is multiplied by, (16 FP, BLOCK_C)."""
    SIDE: tl.constexpr = 4 if DOUBLES else 3
    f = k % FP
    kh = k // (4 * FP)
    kw = k // FP % 4
    real = (f < F) & (kh < SIDE) & (kw < SIDE)
    wh = kh if DOUBLES or FLIPPED else SIDE - 1 - kh  # the weight that the window's row meets
    ww = kw if DOUBLES or FLIPPED else SIDE - 1 - kw
    place = w + (f * swf + wh * swh + ww * sww)[:, None] + c[None, :] * swc
    return tl.load(place, mask=real[:, None] & (c < C)[None, :], other=0.0)


@triton.jit
def place_of_windows(
    px, k, H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr, FP: tl.constexpr, STEP: tl.constexpr
):
    """Where the windows of pixels lie in the frames' gradient, (pixels, 16 FP)."""
    corner = ((px // (H * W) * HP + px // W % H * STEP) * WP + px % W * STEP) * FP
    return corner[:, None] + (k // (4 * FP) * (WP * FP) + k % (4 * FP))[None, :]


@triton.jit(do_not_specialize=["calls"])
def exit_gradients_kernel(
    x,  # (M, C)
    w,  # weight with strides by C, F, row and column; read as it is multiplied, in the type of x
    frames,  # (N, HP, WP, FP), the frames' gradient
    by_x,  # (M, C), written unless NORM
    partial,  # (S, 16 FP, C), written: derivatives by the weight
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
    C: tl.constexpr,
    F: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    FP: tl.constexpr,
    DOUBLES: tl.constexpr,
    FLIPPED: tl.constexpr,
    NORM: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Derivatives by map and weight from one reading: a pixel's window times the weight, and times the pixel.

    A program owns ``chunk`` pixels of one call. With NORM as in exit_terms_kernel: instead of the derivative by the map
    the sums of dz, the derivative by what the norm gives in front of LeakyReLU, which norm_exit_gradient_kernel needs.
    """
    STEP: tl.constexpr = 2 if DOUBLES else 1
    k = tl.arange(0, 16 * FP)
    c = tl.arange(0, BLOCK_C)
    weight = weight_of_columns(w, k, c, swc, swf, swh, sww, C, F, FP, DOUBLES, FLIPPED).to(x.dtype.element_ty)
    call = tl.program_id(1)
    if NORM:
        row_of_stats = stats + call * C + c
        mean = tl.load(row_of_stats, mask=c < C, other=0.0)
        scale = tl.load(row_of_stats + 2 * calls * C, mask=c < C, other=0.0)
        shift = tl.load(row_of_stats + 3 * calls * C, mask=c < C, other=0.0)
        # A number a pixel of the tile: threads need to meet once at the end instead of once a tile.
        by_shift = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
        by_scale = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    acc = tl.zeros([16 * FP, BLOCK_C], tl.float32)
    start = tl.program_id(0) * chunk
    end = tl.minimum(start + chunk, rows)
    for first in tl.range(start, end, BLOCK_M, num_stages=STAGES):
        alive = first + tl.arange(0, BLOCK_M) < end
        px = call * rows + first + tl.arange(0, BLOCK_M)
        g = tl.load(frames + place_of_windows(px, k, H, W, HP, WP, FP, STEP), mask=alive[:, None], other=0.0)
        place = px[:, None] * C + c[None, :]
        there = alive[:, None] & (c < C)[None, :]
        tile = tl.load(x + place, mask=there, other=0.0)
        dx = tl.dot(g, weight, input_precision="ieee")
        if NORM:
            xs = tile.to(tl.float32)
            z = xs * scale[None, :] + shift[None, :]
            dz = tl.where(z > 0, dx, dx * SLOPE)
            by_shift += dz
            by_scale += dz * (xs - mean[None, :])
            tile = tl.where(z > 0, z, z * SLOPE).to(tile.dtype)
        else:
            tl.store(by_x + place, dx.to(by_x.dtype.element_ty), mask=there)
        # Not tileᵀ · window: then the map would not be loaded ahead.
        acc = tl.dot(tl.trans(g), tile, acc, input_precision="ieee")
    split = call * tl.num_programs(0) + tl.program_id(0)
    tl.store(partial + (split * 16 * FP + k)[:, None] * C + c[None, :], acc, mask=(k >= 0)[:, None] & (c < C)[None, :])
    if NORM:
        tl.store(partial_dz + split * C + c, tl.sum(by_shift, 0), mask=c < C)
        tl.store(partial_dzx + split * C + c, tl.sum(by_scale, 0), mask=c < C)


@triton.jit(do_not_specialize=["calls"])
def norm_exit_gradient_kernel(
    x,  # (M, C)
    w,  # as above
    frames,  # (N, HP, WP, FP)
    stats,  # (4, K, C)
    factors,  # (4, K, C) as by call_norm's finish_gradient_sums_kernel
    by_x,  # (M, C), written
    by_weight,  # (C,), written: derivatives by the norm's weight and bias
    by_bias,  # (C,), written
    calls,  # K
    rows,  # M / K
    chunk,
    swc,
    swf,
    swh,
    sww,
    C: tl.constexpr,
    F: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    FP: tl.constexpr,
    DOUBLES: tl.constexpr,
    FLIPPED: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    STAGES: tl.constexpr,
):
    """The derivative by the norm's input: dz is computed once more, which costs less than to write and read it.

    Backwards, as call_norm's gradient_kernel, whose first program does the same, too.
    """
    STEP: tl.constexpr = 2 if DOUBLES else 1
    k = tl.arange(0, 16 * FP)
    c = tl.arange(0, BLOCK_C)
    weight = weight_of_columns(w, k, c, swc, swf, swh, sww, C, F, FP, DOUBLES, FLIPPED).to(x.dtype.element_ty)
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        add_up_calls(factors, by_weight, by_bias, c, c < C, calls, C, BLOCK_K)
    call = turned(1)
    row = (2 * calls + call) * C + c
    scale = tl.load(stats + row, mask=c < C, other=0.0)
    shift = tl.load(stats + row + calls * C, mask=c < C, other=0.0)
    q = tl.load(factors + row, mask=c < C, other=0.0)
    r = tl.load(factors + row + calls * C, mask=c < C, other=0.0)
    start = turned(0) * chunk
    end = tl.minimum(start + chunk, rows)
    tiles = tl.cdiv(end - start, BLOCK_M)
    for step in tl.range(0, tiles, num_stages=STAGES):
        first = start + (tiles - 1 - step) * BLOCK_M
        alive = first + tl.arange(0, BLOCK_M) < end
        px = call * rows + first + tl.arange(0, BLOCK_M)
        g = tl.load(frames + place_of_windows(px, k, H, W, HP, WP, FP, STEP), mask=alive[:, None], other=0.0)
        place = px[:, None] * C + c[None, :]
        there = alive[:, None] & (c < C)[None, :]
        xs = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
        dz = tl.dot(g, weight, input_precision="ieee")
        dz = tl.where(xs * scale[None, :] + shift[None, :] > 0, dz, dz * SLOPE)
        dx = scale[None, :] * dz + q[None, :] * xs + r[None, :]
        tl.store(by_x + place, dx.to(by_x.dtype.element_ty), mask=there)
