"""All weight gradients of a rollout in two launches: products split over rows, then a sum that also casts.

Rows m = n·B + b of block k. Nothing is gathered first: latents and adjoints are read where they lie. Letters as in
reference.py; the bias gradients are sums over rows.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _wide(a_rows, b_rows, out, m, n, start, end, H: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
          BK: tl.constexpr):  # fmt: skip
    """A tile of aᵀ·b (H, H) from a, b (M, H)."""
    acc = tl.zeros([BM, BN], tl.float32)
    for r in range(start, end, BK):
        at = r + tl.arange(0, BK)[:, None]
        a = tl.load(a_rows + at * H + m[None, :], mask=at < end, other=0.0)
        b = tl.load(b_rows + at * H + n[None, :], mask=at < end, other=0.0)
        acc = tl.dot(tl.trans(a), b, acc)
    tl.store(out + m[:, None] * H + n[None, :], acc)


@triton.jit
def _tall(a_rows, states, out, k, m, start, end, batch, L: tl.constexpr, LP: tl.constexpr, H: tl.constexpr,
          R: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """A tile of aᵀ·b (H, LP) from a (M, H) and those rows b of states (S, B, L) that belong to block k."""
    lat = tl.arange(0, LP)[None, :]
    acc = tl.zeros([BM, LP], tl.float32)
    for r in range(start, end, BK):
        at = r + tl.arange(0, BK)[:, None]
        a = tl.load(a_rows + at * H + m[None, :], mask=at < end, other=0.0)
        row = (at // batch * R + k) * batch + at % batch
        b = tl.load(states + row * L + lat, mask=(at < end) & (lat < L), other=0.0)
        acc = tl.dot(tl.trans(a), b.to(a.dtype), acc)
    tl.store(out + m[:, None] * LP + lat, acc)


@triton.jit
def _sum_rows(a_rows, out, m, start, end, H: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr):
    """A tile of the sums (H,) of a (M, H) over rows."""
    acc = tl.zeros([BK, BM], tl.float32)
    for r in range(start, end, BK):
        at = r + tl.arange(0, BK)[:, None]
        acc += tl.load(a_rows + at * H + m[None, :], mask=at < end, other=0.0).to(tl.float32)
    tl.store(out + m, tl.sum(acc, 0))


@triton.jit
def _sum_states(states, out, k, start, end, batch, L: tl.constexpr, LP: tl.constexpr, R: tl.constexpr,
                BK: tl.constexpr):  # fmt: skip
    """The sums (LP,) of block k's rows of states (S, B, L)."""
    lat = tl.arange(0, LP)[None, :]
    acc = tl.zeros([BK, LP], tl.float32)
    for r in range(start, end, BK):
        at = r + tl.arange(0, BK)[:, None]
        row = (at // batch * R + k) * batch + at % batch
        acc += tl.load(states + row * L + lat, mask=(at < end) & (lat < L), other=0.0)
    tl.store(out + tl.arange(0, LP), tl.sum(acc, 0))


@triton.jit(do_not_specialize=["batch", "rows", "share"])
def products_kernel(
    latents,  # (S + 1, B, L) float32
    adjoints,  # (S + 1, B, L) float32
    h1,  # (R, M, H), as the three that follow
    h2,
    dz1,
    dz2,
    sums,  # (SPLITS, R, H·H + 2·H·LP + 3·H) float32, written: dW2, dW1, dW3ᵀ, db2, db1, and db3 in the first LP of H
    batch,  # B
    rows,  # M
    share,  # rows of a split, a multiple of BK
    L: tl.constexpr,
    LP: tl.constexpr,  # L padded to a power of two, at least 16
    H: tl.constexpr,
    R: tl.constexpr,
    BM: tl.constexpr,  # divides H
    BK: tl.constexpr,
):
    tile, k, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    TALL: tl.constexpr = H // BM
    WIDE: tl.constexpr = TALL * TALL
    out = sums + (split * R + k).to(tl.int64) * (H * H + 2 * H * LP + 3 * H)
    biases = out + H * H + 2 * H * LP
    base = k.to(tl.int64) * rows * H
    after = adjoints + batch * L  # a block's g is the adjoint of the state after it
    start = split * share
    end = tl.minimum(start + share, rows)
    m = tile % TALL * BM + tl.arange(0, BM)
    if tile < WIDE:  # dW2 = dz2ᵀ·h1
        n = tile // TALL * BM + tl.arange(0, BM)
        _wide(dz2 + base, h1 + base, out, m, n, start, end, H, BM, BM, BK)
    elif tile < WIDE + TALL:  # dW1 = dz1ᵀ·T
        _tall(dz1 + base, latents, out + H * H, k, m, start, end, batch, L, LP, H, R, BM, BK)
    elif tile < WIDE + 2 * TALL:  # dW3ᵀ = h2ᵀ·g
        _tall(h2 + base, after, out + H * H + H * LP, k, m, start, end, batch, L, LP, H, R, BM, BK)
    elif tile < WIDE + 3 * TALL:
        _sum_rows(dz2 + base, biases, m, start, end, H, BM, BK)
    elif tile < WIDE + 4 * TALL:
        _sum_rows(dz1 + base, biases + H, m, start, end, H, BM, BK)
    else:
        _sum_states(after, biases + 2 * H, k, start, end, batch, L, LP, R, BK)


@triton.jit
def sum_kernel(
    sums,  # as from products_kernel
    w1,  # (R, H, L), written, as the five that follow
    b1,  # (R, H)
    w2,  # (R, H, H)
    b2,  # (R, H)
    w3,  # (R, L, H)
    b3,  # (R, L)
    L: tl.constexpr,
    LP: tl.constexpr,
    H: tl.constexpr,
    R: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    k = tl.program_id(1)
    SIZE: tl.constexpr = H * H + 2 * H * LP + 3 * H
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y = tl.zeros([BLOCK], tl.float32)
    for s in tl.static_range(SPLITS):
        y += tl.load(sums + (s * R + k) * SIZE + i, mask=i < SIZE, other=0.0)
    tl.store(w2 + k * (H * H) + i, y.to(w2.dtype.element_ty), mask=i < H * H)
    i -= H * H
    tl.store(
        w1 + k * (H * L) + i // LP * L + i % LP, y.to(w1.dtype.element_ty), mask=(i >= 0) & (i < H * LP) & (i % LP < L)
    )
    i -= H * LP
    tl.store(
        w3 + k * (H * L) + i % LP * H + i // LP, y.to(w3.dtype.element_ty), mask=(i >= 0) & (i < H * LP) & (i % LP < L)
    )
    i -= H * LP
    tl.store(b2 + k * H + i, y.to(b2.dtype.element_ty), mask=(i >= 0) & (i < H))
    i -= H
    tl.store(b1 + k * H + i, y.to(b1.dtype.element_ty), mask=(i >= 0) & (i < H))
    i -= H
    tl.store(b3 + k * L + i, y.to(b3.dtype.element_ty), mask=(i >= 0) & (i < L))


def tiles(width: int, block: int) -> int:
    """Programs of ``products_kernel`` for one block and one split."""
    tall = width // block
    return tall * tall + 4 * tall + 1
