"""Triton kernels of an entry: a convolution of float32 frames as they lie, whatever their strides.

Each output pixel's window is gathered straight from the frames, K = C*k*k values in blocks: no cast of the frames and
no change of their layout. Letters as in reference.py; OH x OW output pixels, M = N*OH*OW, S chunks.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def entry_kernel(
    x,  # (N, C, H, W) with strides
    w,  # (F, C, KH, KW) with strides
    bias,  # (F,), read if HAS_BIAS
    y,  # (M, F), written
    M,
    sxn,
    sxc,
    sxh,
    sxw,
    swf,
    swc,
    swh,
    sww,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    F: tl.constexpr,
    OH: tl.constexpr,
    OW: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    SLOPE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_F: tl.constexpr,
):
    K: tl.constexpr = C * KH * KW
    px = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    alive = px < M
    base = px // (OH * OW) * sxn
    top = (px // OW) % OH * STRIDE - PADDING
    left = px % OW * STRIDE - PADDING
    f = tl.arange(0, BLOCK_F)
    acc = tl.zeros([BLOCK_M, BLOCK_F], tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        c = k // (KH * KW)
        kh = k // KW % KH
        kw = k % KW
        ih = top[:, None] + kh[None, :]
        iw = left[:, None] + kw[None, :]
        inside = alive[:, None] & (k < K)[None, :] & (ih >= 0) & (ih < H) & (iw >= 0) & (iw < W)
        window = tl.load(x + base[:, None] + c[None, :] * sxc + ih * sxh + iw * sxw, mask=inside, other=0.0)
        weight = tl.load(
            w + (c * swc + kh * swh + kw * sww)[:, None] + f[None, :] * swf,
            mask=(k < K)[:, None] & (f < F)[None, :],
            other=0.0,
        )
        low = y.dtype.element_ty
        acc = tl.dot(window.to(low), weight.to(low), acc, input_precision="ieee")
    if HAS_BIAS:
        acc += tl.load(bias + f, mask=f < F, other=0.0)[None, :]
    acc = tl.where(acc > 0, acc, acc * SLOPE)
    out = y + px[:, None] * F + f[None, :]
    tl.store(out, acc.to(y.dtype.element_ty), mask=alive[:, None] & (f < F)[None, :])


@triton.jit
def entry_weights_kernel(
    x,  # (N, C, H, W) with strides
    y,  # (M, F): its sign is the branch of the activation; not read where SLOPE is 1
    grad,  # (M, F)
    partial,  # (S, F, K), written: derivatives by the weight
    partial_bias,  # (S, F), written
    M,
    chunk,
    sxn,
    sxc,
    sxh,
    sxw,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    F: tl.constexpr,
    OH: tl.constexpr,
    OW: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    SLOPE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_F: tl.constexpr,
):
    """A program owns ``chunk`` pixels and BLOCK_K of the K columns."""
    K: tl.constexpr = C * KH * KW
    split = tl.program_id(0)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    c = k // (KH * KW)
    kh = k // KW % KH
    kw = k % KW
    f = tl.arange(0, BLOCK_F)
    acc = tl.zeros([BLOCK_F, BLOCK_K], tl.float32)
    by_bias = tl.zeros([BLOCK_F], tl.float32)
    start = split * chunk
    end = tl.minimum(start + chunk, M)
    for first in range(start, end, BLOCK_M):
        px = first + tl.arange(0, BLOCK_M)
        alive = px < end
        base = px // (OH * OW) * sxn
        ih = ((px // OW) % OH * STRIDE - PADDING)[:, None] + kh[None, :]
        iw = (px % OW * STRIDE - PADDING)[:, None] + kw[None, :]
        inside = alive[:, None] & (k < K)[None, :] & (ih >= 0) & (ih < H) & (iw >= 0) & (iw < W)
        window = tl.load(x + base[:, None] + c[None, :] * sxc + ih * sxh + iw * sxw, mask=inside, other=0.0)
        cell = px[:, None] * F + f[None, :]
        there = alive[:, None] & (f < F)[None, :]
        dz = tl.load(grad + cell, mask=there, other=0.0).to(tl.float32)
        if SLOPE != 1.0:
            dz = tl.where(tl.load(y + cell, mask=there, other=0.0) > 0, dz, dz * SLOPE)
        by_bias += tl.sum(dz, 0)
        low = grad.dtype.element_ty
        acc = tl.dot(tl.trans(dz.to(low)), window.to(low), acc, input_precision="ieee")
    out = partial + (split * F + f)[:, None] * K + k[None, :]
    tl.store(out, acc, mask=(f < F)[:, None] & (k < K)[None, :])
    if tl.program_id(1) == 0:
        tl.store(partial_bias + split * F + f, by_bias, mask=f < F)
