"""Triton kernels of an exit: a convolution of a channels-last map to float32 frames.

Two kinds, by DOUBLES: a transposed 4x4 convolution with stride 2 (padding 1), where each output pixel meets 2x2 input
pixels, or a 3x3 one (padding 1), FLIPPED where it is a transposed one. Letters as in reference.py; M = N*H*W pixels.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def exit_kernel(
    x,  # (M, C)
    w,  # weight with strides by C, F, row and column
    bias,  # (F,), read if HAS_BIAS
    y,  # (N, F, s H, s W) with strides, written
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
    PIXELS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TERMS: tl.constexpr,
):
    """One product of pixels and channels with all taps of the weight, then each output gathers its terms.

    Every pixel is read once, not once a tap. A tile is as many image rows as fit into PIXELS, the first and the last of
    them only neighbours. Column j of the product belongs to output j // TERMS and is its term j % TERMS. An output is a
    channel, or with DOUBLES a channel and one of the four places (a, b) in the 2x2 pixels that a pixel becomes.
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
    tile = tl.load(x + place[:, None] * C + c[None, :], mask=there[:, None] & (c < C)[None, :], other=0.0)
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


@triton.jit
def exit_gradients_kernel(
    x,  # (M, C)
    w,  # weight with strides by C, F, row and column
    y,  # (N, F, s H, s W) with strides, read if SIGMOID
    grad,  # like y
    by_x,  # (M, C), written
    partial,  # (S, C, COLUMNS), written: derivatives by the weight
    partial_bias,  # (S, COLUMNS), written: sums of the gradient by tap
    M,
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
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """All three derivatives from one reading: a pixel's window of the gradient, times the weight and times the pixel.

    The window is 4x4 around (2h, 2w) with DOUBLES, else 3x3 around (h, w). Column k is channel k // 16, tap k % 16.
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
    acc = tl.zeros([BLOCK_C, COLUMNS], tl.float32)
    by_bias = tl.zeros([COLUMNS], tl.float32)
    start = tl.program_id(0) * chunk
    end = tl.minimum(start + chunk, M)
    for first in tl.range(start, end, BLOCK_M, num_stages=STAGES):
        px = first + tl.arange(0, BLOCK_M)
        alive = px < end
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
        tl.store(by_x + place, dx.to(by_x.dtype.element_ty), mask=there)
        acc = tl.dot(tl.trans(tile), g, acc, input_precision="ieee")
    split = tl.program_id(0)
    tl.store(partial + (split * C + c)[:, None] * COLUMNS + k[None, :], acc, mask=(c < C)[:, None] & (k[None, :] >= 0))
    tl.store(partial_bias + split * COLUMNS + k, by_bias)
