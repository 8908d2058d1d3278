"""Triton kernels: the largest pixel of each window and where it was, and the derivative by the image.

Maps lie channels last. Window (i, j) of SIDE 3 is of rows 2i-1 to 2i+1 and columns 2j-1 to 2j+1, of SIDE 2 of rows 2i
and 2i+1 and columns 2j and 2j+1. The place of its largest pixel is SIDE r + s for row r and column s of the window; of
equal ones the first, as in PyTorch. Letters as in reference.py.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def max_pool_kernel(
    x,  # (N, H, W, C)
    y,  # (N, OH, OW, C), written
    place,  # (N, OH, OW, C) int8, written
    windows,  # N OH OW
    SIDE: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    OH: tl.constexpr,
    OW: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """A program owns BLOCK windows and BLOCK_C channels."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = (o < windows)[:, None] & (c < C)[None, :]
    i, j, image = o // OW % OH, o % OW, o // (OW * OH)
    best = tl.full([BLOCK, BLOCK_C], float("-inf"), tl.float32)
    where = tl.full([BLOCK, BLOCK_C], -1, tl.int32)
    for r in tl.static_range(SIDE):
        for s in tl.static_range(SIDE):
            row, column = 2 * i + r - (SIDE - 2), 2 * j + s - (SIDE - 2)
            inside = alive & ((row >= 0) & (row < H) & (column >= 0) & (column < W))[:, None]
            pixel = (image * H + row) * W + column
            value = tl.load(x + pixel[:, None] * C + c[None, :], mask=inside, other=float("-inf")).to(tl.float32)
            larger = inside & ((value > best) | (value != value) | (where < 0))  # a NaN is the largest
            best = tl.where(larger, value, best)
            where = tl.where(larger, SIDE * r + s, where)
    cell = o[:, None] * C + c[None, :]
    tl.store(y + cell, best.to(y.dtype.element_ty), mask=alive)
    tl.store(place + cell, where.to(tl.int8), mask=alive)


@triton.jit
def max_pool_gradient_kernel(
    grad,  # (N, OH, OW, C)
    place,  # (N, OH, OW, C) int8
    by_x,  # (N, H, W, C), written
    squares,  # N ceil(H/2) ceil(W/2)
    SIDE: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    OH: tl.constexpr,
    OW: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """A program owns BLOCK squares of 2x2 pixels, from (2i, 2j) on: window (i, j) and, of SIDE 3, the next hold them.

    So each number is loaded at most four times for four pixels, by threads that hold neighbouring channels.
    """
    ACROSS: tl.constexpr = (W + 1) // 2
    DOWN: tl.constexpr = (H + 1) // 2
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    alive = (o < squares)[:, None] & (c < C)[None, :]
    i, j, image = o // ACROSS % DOWN, o % ACROSS, o // (ACROSS * DOWN)
    for a in tl.static_range(2):
        for b in tl.static_range(2):
            total = tl.zeros([BLOCK, BLOCK_C], tl.float32)
            for down in tl.static_range(a * (SIDE - 2) + 1):
                for right in tl.static_range(b * (SIDE - 2) + 1):
                    there = alive & ((i + down < OH) & (j + right < OW))[:, None]
                    cell = ((image * OH + i + down) * OW + j + right)[:, None] * C + c[None, :]
                    tap = SIDE * (a + SIDE - 2 - 2 * down) + b + SIDE - 2 - 2 * right
                    mine = tl.load(place + cell, mask=there, other=-1) == tap
                    total += tl.where(mine, tl.load(grad + cell, mask=there, other=0.0).to(tl.float32), 0.0)
            row, column = 2 * i + a, 2 * j + b
            inside = alive & ((row < H) & (column < W))[:, None]
            pixel = (image * H + row) * W + column
            tl.store(by_x + pixel[:, None] * C + c[None, :], total.to(by_x.dtype.element_ty), mask=inside)
