"""Triton kernels of an entry: a convolution of frames, whatever their strides.

First the frames are written once as products want them: in a half type, channels last and CP of them, a power of two
from eight on, with the zero border. Then a pixel's window is KH KW pieces of at least 16 bytes that need no masks, and
column k of it is tap k // CP, channel k % CP. Letters as in reference.py; HP x WP pixels with the border, OH x OW
output pixels, M = N*OH*OW, KP columns: all of a window and as many more as fill blocks, S chunks.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def pad_kernel(
    x,  # (N, C, H, W) with strides
    out,  # (N, HP, WP, CP), written
    partial,  # (programs, CP), written if SUMS: sums over pixels
    pixels,  # N HP WP
    sxn,
    sxc,
    sxh,
    sxw,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    CP: tl.constexpr,
    PADDING: tl.constexpr,
    SUMS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Read along rows of the frames, written along channels: between lies one exchange in shared memory."""
    px = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, CP)
    h = px // WP % HP - PADDING
    w = px % WP - PADDING
    inside = (px < pixels) & (h >= 0) & (h < H) & (w >= 0) & (w < W)
    place = x + (px // (WP * HP) * sxn + h * sxh + w * sxw)[None, :] + (c * sxc)[:, None]
    tile = tl.load(place, mask=inside[None, :] & (c < C)[:, None], other=0.0)
    if SUMS:
        tl.store(partial + tl.program_id(0) * CP + c, tl.sum(tile.to(tl.float32), 1))
    tile = tl.trans(tile.to(out.dtype.element_ty))
    tl.store(out + px[:, None] * CP + c[None, :], tile, mask=(px < pixels)[:, None] & (c[None, :] >= 0))


@triton.jit
def entry_kernel(
    x,  # (N, HP, WP, CP)
    w,  # (KP, F)
    bias,  # (F,), read if HAS_BIAS
    y,  # (M, F), written
    M,
    F: tl.constexpr,
    OH: tl.constexpr,
    OW: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    CP: tl.constexpr,
    KP: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    STRIDE: tl.constexpr,
    SLOPE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_F: tl.constexpr,
    STAGES: tl.constexpr,
):
    px = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    alive = px < M
    corner = ((px // (OH * OW) * HP + px // OW % OH * STRIDE) * WP + px % OW * STRIDE) * CP
    f = tl.arange(0, BLOCK_F)
    acc = tl.zeros([BLOCK_M, BLOCK_F], tl.float32)
    for first in tl.range(0, KP, BLOCK_K, num_stages=STAGES):
        k = first + tl.arange(0, BLOCK_K)
        tap = k // CP
        offset = (tap // KW * WP + tap % KW) * CP + k % CP
        inside = alive[:, None] & (tap < KH * KW)[None, :]
        window = tl.load(x + corner[:, None] + offset[None, :], mask=inside, other=0.0)
        weight = tl.load(w + k[:, None] * F + f[None, :], mask=(k < KP)[:, None] & (f < F)[None, :], other=0.0)
        acc = tl.dot(window, weight, acc, input_precision="ieee")
    if HAS_BIAS:
        acc += tl.load(bias + f, mask=f < F, other=0.0)[None, :]
    acc = tl.where(acc > 0, acc, acc * SLOPE)
    out = y + px[:, None] * F + f[None, :]
    tl.store(out, acc.to(y.dtype.element_ty), mask=alive[:, None] & (f < F)[None, :])


@triton.jit
def entry_weights_kernel(
    x,  # (N, HP, WP, CP)
    y,  # (M, F): its sign is the branch of the activation; not read where SLOPE is 1
    grad,  # (M, F)
    partial,  # (S, F, KP), written: derivatives by the weight
    partial_bias,  # (S, F), written if HAS_BIAS
    M,
    chunk,
    F: tl.constexpr,
    OH: tl.constexpr,
    OW: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    CP: tl.constexpr,
    KP: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    STRIDE: tl.constexpr,
    SLOPE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_F: tl.constexpr,
    STAGES: tl.constexpr,
):
    """A program owns ``chunk`` pixels and BLOCK_K of the columns."""
    split = tl.program_id(0)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    tap = k // CP
    offset = (tap // KW * WP + tap % KW) * CP + k % CP
    f = tl.arange(0, BLOCK_F)
    acc = tl.zeros([BLOCK_F, BLOCK_K], tl.float32)
    # A number a pixel of the tile: threads need to meet once at the end instead of once a tile.
    by_bias = tl.zeros([BLOCK_M, BLOCK_F], tl.float32)
    start = split * chunk
    end = tl.minimum(start + chunk, M)
    for first in tl.range(start, end, BLOCK_M, num_stages=STAGES):
        px = first + tl.arange(0, BLOCK_M)
        alive = px < end
        corner = ((px // (OH * OW) * HP + px // OW % OH * STRIDE) * WP + px % OW * STRIDE) * CP
        inside = alive[:, None] & (tap < KH * KW)[None, :]
        window = tl.load(x + corner[:, None] + offset[None, :], mask=inside, other=0.0)
        cell = px[:, None] * F + f[None, :]
        there = alive[:, None] & (f < F)[None, :]
        dz = tl.load(grad + cell, mask=there, other=0.0)
        if SLOPE != 1.0:
            up = dz.to(tl.float32)
            dz = tl.where(tl.load(y + cell, mask=there, other=0.0) > 0, up, up * SLOPE).to(dz.dtype)
        if HAS_BIAS:
            by_bias += dz.to(tl.float32)
        acc = tl.dot(tl.trans(dz), window, acc, input_precision="ieee")
    out = partial + (split * F + f)[:, None] * KP + k[None, :]
    tl.store(out, acc, mask=(f < F)[:, None] & (k < KP)[None, :])
    if HAS_BIAS:
        tl.store(partial_bias + split * F + f, tl.sum(by_bias, 0), mask=(f < F) & (tl.program_id(1) == 0))
