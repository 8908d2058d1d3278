"""Triton kernels of an exit: a convolution of a channels-last map to float32 frames.

Two kinds, by DOUBLES: a transposed 4x4 convolution with stride 2 (padding 1), where each output pixel meets 2x2 input
pixels, or a 3x3 one (padding 1), FLIPPED where it is a transposed one. Letters as in reference.py;
M = N*H*W pixels, K network calls.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.call_norm.forward import move_running


@triton.jit(do_not_specialize=["calls", "images"])
def exit_kernel(
    x,  # (M, C)
    w,  # weight with strides by C, F, row and column
    bias,  # (F,), read if HAS_BIAS
    stats,  # (4, K, C) as call_norm keeps them, read if NORM
    y,  # (N, F, s H, s W) with strides, written
    norm_bias,  # and the next two: as in call_norm's normalise_kernel
    running_mean,
    running_var,
    calls,  # K
    images,  # a call
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
    HAS_BIAS: tl.constexpr,
    NORM: tl.constexpr,
    SLOPE: tl.constexpr,
    MOMENTUM: tl.constexpr,
    LOG_KEEP: tl.constexpr,
    HAS_NORM_BIAS: tl.constexpr,
    PIXELS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_K: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TERMS: tl.constexpr,
):
    """One product of pixels and channels with all taps of the weight, then each output gathers its terms.

    Every pixel is read once, not once a tap. A tile is as many image rows as fit into PIXELS, the first and the last of
    them only neighbours. Column j of the product belongs to output j // TERMS and is its term j % TERMS. An output is a
    channel, or with DOUBLES a channel and one of the four places (a, b) in the 2x2 pixels that a pixel becomes.

    With NORM, x is what stands in front of a batch norm per call with LeakyReLU: both are applied in passing, and the
    first program moves the norm's running statistics.
    """
    ROWS: tl.constexpr = PIXELS // W
    USED: tl.constexpr = ROWS - 2
    TILES: tl.constexpr = (H + USED - 1) // USED
    image = tl.program_id(0) // TILES
    top = tl.program_id(0) % TILES * USED - 1
    p = tl.arange(0, PIXELS)
    h = top + p // W
    col = p % W
    c = tl.arange(0, BLOCK_C)
    j = tl.arange(0, OUTPUTS * TERMS)
    q = j // TERMS
    t = j % TERMS
    if DOUBLES:
        f = q // 4
        a = q % 4 // 2
        b = q % 2
        # Output row 2h + a meets the pixel itself, in kernel row a + 1, and the neighbour on its side.
        dh = tl.where(t // 2 == 0, 0, 2 * a - 1)
        dw = tl.where(t % 2 == 0, 0, 2 * b - 1)
        kh = a + 1 - 2 * dh
        kw = b + 1 - 2 * dw
        real = f < F
    else:
        f = q
        dh = t // 3 - 1
        dw = t % 3 - 1
        kh = 1 - dh if FLIPPED else dh + 1
        kw = 1 - dw if FLIPPED else dw + 1
        real = (f < F) & (t < 9)
    there = (h >= 0) & (h < H) & (p < ROWS * W)
    place = (image * H + h) * W + col
    known = there[:, None] & (c < C)[None, :]
    tile = tl.load(x + place[:, None] * C + c[None, :], mask=known, other=0.0)
    if NORM:
        if tl.program_id(0) == 0:
            move_running(
                stats, norm_bias, running_mean, running_var, c, c < C, images * H * W, calls,
                MOMENTUM, LOG_KEEP, HAS_NORM_BIAS, C, BLOCK_K, tl.float32,
            )  # fmt: skip
        row_of_stats = stats + (2 * calls + image // images) * C + c
        scale = tl.load(row_of_stats, mask=c < C, other=0.0)
        shift = tl.load(row_of_stats + calls * C, mask=c < C, other=0.0)
        z = tile.to(tl.float32) * scale[None, :] + shift[None, :]
        tile = tl.where(known, tl.where(z > 0, z, z * SLOPE), 0.0).to(tile.dtype)
    weight = tl.load(
        w + c[:, None] * swc + (f * swf + kh * swh + kw * sww)[None, :],
        mask=(c < C)[:, None] & real[None, :],
        other=0.0,
    )
    terms = tl.dot(tile, weight.to(tile.dtype), input_precision="ieee")  # (PIXELS, OUTPUTS * TERMS)
    source = p[:, None] + (dh * W + dw)[None, :]
    beside = col[:, None] + dw[None, :]
    inside = real[None, :] & (source >= 0) & (source < ROWS * W) & (beside >= 0) & (beside < W)
    terms = tl.where(inside, tl.gather(terms, tl.where(inside, source, 0), 0), 0.0)
    out = tl.sum(tl.reshape(terms, [PIXELS, OUTPUTS, TERMS]), 2)  # (PIXELS, OUTPUTS)
    q = tl.arange(0, OUTPUTS)
    f = q // 4 if DOUBLES else q
    if HAS_BIAS:
        out += tl.load(bias + f, mask=f < F, other=0.0)[None, :]
    if SIGMOID:
        out = 1.0 / (1.0 + tl.exp(-out))
    if DOUBLES:
        row = 2 * h[:, None] + (q % 4 // 2)[None, :]
        column = 2 * col[:, None] + (q % 2)[None, :]
    else:
        row = h[:, None] + 0 * q[None, :]
        column = col[:, None] + 0 * q[None, :]
    used = there & (p >= W) & (p < (ROWS - 1) * W)
    out_place = y + image * syn + f[None, :] * syf + row * syh + column * syw
    tl.store(out_place, out.to(y.dtype.element_ty), mask=used[:, None] & (f < F)[None, :])


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

    With NORM as in exit_kernel; by_x is then the derivative by what the norm gives in front of LeakyReLU, and its sums
    are what the norm's own derivatives need.
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
