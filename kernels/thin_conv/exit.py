"""Triton kernels of an exit, a convolution of a channels-last map to float32 frames, in two launches.

Two kinds, by DOUBLES: a transposed 4x4 convolution with stride 2 (padding 1), where each output pixel meets 2x2 input
pixels, or a 3x3 one (padding 1), FLIPPED where it is a transposed one.

Every pixel meets every tap of the weight once. So the first launch is one product of pixels and channels with all
taps, which reads the map once and in order; the second adds up what belongs to an output. Between them lie F T numbers
a pixel, few beside its C channels. Letters as in reference.py; T taps (16 or 9), M = N*H*W pixels, K network calls.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.call_norm.forward import move_running, turned


@triton.jit(do_not_specialize=["calls"])
def exit_terms_kernel(
    x,  # (M, C)
    w,  # weight with strides by C, F, row and column
    stats,  # (4, K, C) as call_norm keeps them, read if NORM
    terms,  # (F T, M), written: a row is one channel and one tap
    norm_bias,  # and the next two: as in call_norm's normalise_kernel
    running_mean,
    running_var,
    calls,  # K
    rows,  # M / K
    chunk,
    swc,
    swf,
    swh,
    sww,
    C: tl.constexpr,
    F: tl.constexpr,
    SIDE: tl.constexpr,
    NORM: tl.constexpr,
    SLOPE: tl.constexpr,
    MOMENTUM: tl.constexpr,
    LOG_KEEP: tl.constexpr,
    HAS_NORM_BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_K: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """A program owns ``chunk`` pixels of one call, the last first (see ``turned``).

    Terms are rounded to the type of ``x``, pixels side by side.

    With NORM, x is what stands in front of a batch norm per call with LeakyReLU: both are applied in passing, and the
    first program moves the norm's running statistics.
    """
    c = tl.arange(0, BLOCK_C)
    j = tl.arange(0, COLUMNS)
    real = j < F * SIDE * SIDE
    weight = tl.load(
        w + c[:, None] * swc + (j // (SIDE * SIDE) * swf + j // SIDE % SIDE * swh + j % SIDE * sww)[None, :],
        mask=(c < C)[:, None] & real[None, :],
        other=0.0,
    ).to(x.dtype.element_ty)
    call = turned(1)
    if NORM:
        if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
            move_running(
                stats, norm_bias, running_mean, running_var, c, c < C, rows, calls,
                MOMENTUM, LOG_KEEP, HAS_NORM_BIAS, C, BLOCK_K, tl.float32,
            )  # fmt: skip
        row_of_stats = stats + (2 * calls + call) * C + c
        scale = tl.load(row_of_stats, mask=c < C, other=0.0)
        shift = tl.load(row_of_stats + calls * C, mask=c < C, other=0.0)
    start = turned(0) * chunk
    end = tl.minimum(start + chunk, rows)
    tiles = tl.cdiv(end - start, BLOCK_M)
    for step in tl.range(0, tiles, num_stages=STAGES):
        first = start + (tiles - 1 - step) * BLOCK_M
        alive = first + tl.arange(0, BLOCK_M) < end
        px = call * rows + first + tl.arange(0, BLOCK_M)
        tile = tl.load(x + px[:, None] * C + c[None, :], mask=alive[:, None] & (c < C)[None, :], other=0.0)
        if NORM:
            z = tile.to(tl.float32) * scale[None, :] + shift[None, :]
            tile = tl.where(z > 0, z, z * SLOPE).to(tile.dtype)
        found = tl.dot(tile, weight, input_precision="ieee")  # (BLOCK_M, COLUMNS)
        place = terms + j[None, :] * (calls * rows) + px[:, None]
        tl.store(place, found.to(terms.dtype.element_ty), mask=alive[:, None] & real[None, :])


@triton.jit
def add_terms_kernel(
    terms,  # (F T, M)
    bias,  # (F,), read if HAS_BIAS
    y,  # (N, F, s H, s W), contiguous, written
    total,  # N F s H s W
    pixels,  # M
    F: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    DOUBLES: tl.constexpr,
    FLIPPED: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add up an output's four (nine) terms, each from the pixel and the tap that it belongs to."""
    STEP: tl.constexpr = 2 if DOUBLES else 1
    REACH: tl.constexpr = 2 if DOUBLES else 3  # pixels that an output meets along a side
    SIDE: tl.constexpr = 4 if DOUBLES else 3
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = o % (STEP * W)
    row = o // (STEP * W) % (STEP * H)
    f = o // (STEP * STEP * H * W) % F
    image = o // (STEP * STEP * H * W * F)
    out = tl.zeros([BLOCK], tl.float32)
    for r in tl.static_range(REACH):
        for s in tl.static_range(REACH):
            if DOUBLES:
                # Pixel h gives to rows 2h - 1 + kh: row 2i + a meets pixels i + a - 1 and i + a.
                h = (row + 1) // 2 - r
                w = (column + 1) // 2 - s
                kh = row + 1 - 2 * h
                kw = column + 1 - 2 * w
            else:
                h = row + r - 1
                w = column + s - 1
                kh = 2 - r if FLIPPED else r
                kw = 2 - s if FLIPPED else s
            inside = (o < total) & (h >= 0) & (h < H) & (w >= 0) & (w < W)
            term = (f * SIDE + kh) * SIDE + kw
            out += tl.load(terms + term * pixels + (image * H + h) * W + w, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        out += tl.load(bias + f, mask=o < total, other=0.0)
    tl.store(y + o, out, mask=o < total)
