"""What a program of the stationary kernel does by itself: its weights, its products, and what it leaves behind.

The hidden axis is split over warps as a batch axis of the products (PARTS, ...), so that what one product gives a warp
is what the next one takes from it. Letters as in reference.py.
"""

# ruff: noqa: SIM108 - branches on compile-time arguments
from __future__ import annotations

import triton
import triton.language as tl

from kernels.latent_rollout.tiles import drop_offsets, lift_offsets, mix_offsets


@triton.jit
def _narrow(size: tl.constexpr, PARTS: tl.constexpr):
    """0, which the compiler takes for some multiple of the numbers that a thread may read at a time from a matrix of
    each part, ``size`` numbers: half its share.

    Were they its share, a thread would have no two numbers of one part but neighbours, and from Triton 3.7 on that puts
    the axis of parts second in shared memory: every read of a weight then has 8-way bank conflicts.
    """
    if size >= 128 * PARTS:
        return tl.program_id(2) * (size // (64 * PARTS))
    else:
        return tl.program_id(2)


@triton.jit
def load_weights(w_lift, w_mix, w_drop, block, L: tl.constexpr, LP: tl.constexpr, H: tl.constexpr, PARTS: tl.constexpr,
                 PART: tl.constexpr, SLICE: tl.constexpr, ADJOINT: tl.constexpr):  # fmt: skip
    """All of the lift (PARTS, LP, PART) and this program's slices of the mix (PARTS, PART, SLICE) and of the drop
    (SLICE, LP), zero beyond L and H."""
    hid = tl.arange(0, PARTS)[:, None, None] * PART + tl.arange(0, PART)[None, None, :]
    lat = tl.arange(0, LP)[None, :, None]
    at = lift_offsets(block, lat, hid, L, H, ADJOINT) + _narrow(LP * PART, PARTS)
    lift = tl.load(w_lift + at, mask=(lat < L) & (hid < H), other=0.0)
    src = tl.arange(0, PARTS)[:, None, None] * PART + tl.arange(0, PART)[None, :, None]
    dst = tl.program_id(0) * SLICE + tl.arange(0, SLICE)
    at = mix_offsets(block, src, dst[None, None, :], H, ADJOINT) + _narrow(PART * SLICE, PARTS)
    mix = tl.load(w_mix + at, mask=(src < H) & (dst[None, None, :] < H), other=0.0)
    lat = tl.arange(0, LP)[None, :]
    at = drop_offsets(block, dst[:, None], lat, L, H, ADJOINT)
    drop = tl.load(w_drop + at, mask=(dst[:, None] < H) & (lat < L), other=0.0)
    return lift, mix, drop


@triton.jit
def lift_gate(gate_lift, block, step, transitions, batch, H: tl.constexpr, PARTS: tl.constexpr, PART: tl.constexpr,
               BLOCK_B: tl.constexpr, ADJOINT: tl.constexpr):  # fmt: skip
    """What the lift meets (PARTS, BLOCK_B, PART): the mask's source, or the bias for its accumulator to start from.

    The bias is made by a product, ones times a matrix whose first row is the bias, so that it is born in an
    accumulator's layout: a loaded bias would pass through shared memory every turn.
    """
    hid = tl.arange(0, PARTS)[:, None, None] * PART + tl.arange(0, PART)[None, None, :]
    if ADJOINT:
        row = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)[None, :, None]
        at = ((block * transitions + step).to(tl.int64) * batch + row) * H + hid
        return tl.load(gate_lift + at, mask=(row < batch) & (hid < H) & (step >= 0), other=0.0)
    else:
        k = tl.arange(0, 16)[None, :, None]
        at = block * H + hid + tl.zeros_like(k) + _narrow(16 * PART, PARTS)
        bias = tl.load(gate_lift + at, mask=(k == 0) & (hid < H), other=0.0)
        return tl.dot(tl.full((PARTS, BLOCK_B, 16), 1.0, bias.dtype), bias, input_precision="ieee")


@triton.jit
def mix_gate(gate_mix, block, step, transitions, batch, H: tl.constexpr, SLICE: tl.constexpr, BLOCK_B: tl.constexpr,
              ADJOINT: tl.constexpr):  # fmt: skip
    """What the mix meets: the mask's source (BLOCK_B, SLICE), or the bias (1, SLICE)."""
    dst = tl.program_id(0) * SLICE + tl.arange(0, SLICE)[None, :]
    if ADJOINT:
        row = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
        at = ((block * transitions + step).to(tl.int64) * batch + row) * H + dst
        return tl.load(gate_mix + at, mask=(row < batch) & (dst < H) & (step >= 0), other=0.0)
    else:
        return tl.load(gate_mix + block * H + dst, mask=dst < H, other=0.0)


@triton.jit
def _sum_parts(q, PARTS: tl.constexpr):
    """Sum over the leading axis, which is split over warps; a power of two up to 16.

    ``tl.sum`` would pass it through shared memory with 16-way bank conflicts, for longer than all products take.
    Halving it by ``tl.split`` moves every value once, without conflicts.
    """
    q = tl.permute(q, (1, 2, 0))
    ROWS: tl.constexpr = q.shape[0]
    COLS: tl.constexpr = q.shape[1]
    if PARTS == 1:
        return tl.reshape(q, (ROWS, COLS))
    elif PARTS == 2:
        a, b = tl.split(q)
    elif PARTS == 4:
        a, b = tl.split(tl.reshape(q, (ROWS, COLS, 2, 2)))
        a, b = tl.split(a + b)
    elif PARTS == 8:
        a, b = tl.split(tl.reshape(q, (ROWS, COLS, 2, 2, 2)))
        a, b = tl.split(a + b)
        a, b = tl.split(a + b)
    else:
        a, b = tl.split(tl.reshape(q, (ROWS, COLS, 2, 2, 2, 2)))
        a, b = tl.split(a + b)
        a, b = tl.split(a + b)
        a, b = tl.split(a + b)
    return a + b


@triton.jit
def partial_sum(x, weights, lifted, mixed, PARTS: tl.constexpr, ADJOINT: tl.constexpr, PRECISION: tl.constexpr):
    """This program's share (BLOCK_B, LP) of what the block adds to the state; and, as operands, the hidden layers it is
    made from, all of the first (PARTS, BLOCK_B, PART) and a slice of the second (BLOCK_B, SLICE)."""
    lift, mix, drop = weights
    operand = mix.dtype
    rows = tl.broadcast_to(x.to(operand)[None], [PARTS, x.shape[0], x.shape[1]])
    if ADJOINT:
        p = tl.where(lifted > 0, tl.dot(rows, lift, input_precision=PRECISION), 0.0).to(operand)
    else:
        p = tl.maximum(tl.dot(rows, lift, lifted, input_precision=PRECISION), 0.0).to(operand)
    q = _sum_parts(tl.dot(p, mix, input_precision=PRECISION), PARTS)
    if ADJOINT:
        q = tl.where(mixed > 0, q, 0.0).to(operand)
    else:
        q = tl.maximum(q + mixed, 0.0).to(operand)
    return tl.dot(q, drop, input_precision=PRECISION), p, q


@triton.jit
def keep_hidden(p, q, out_lift, out_mix, block, step, transitions, batch, H: tl.constexpr, PARTS: tl.constexpr,
          PART: tl.constexpr, SLICE: tl.constexpr, SLICES: tl.constexpr, BLOCK_B: tl.constexpr):  # fmt: skip
    """Leave the hidden layers for the weight gradients. Every program has all of the first: each stores some rows."""
    base = (block * transitions + step).to(tl.int64) * batch
    row = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    hid = tl.arange(0, PARTS)[:, None, None] * PART + tl.arange(0, PART)[None, None, :]
    mine = (row < batch) & (tl.arange(0, BLOCK_B) % SLICES == tl.program_id(0))
    tl.store(out_lift + (base + row)[None, :, None] * H + hid, p, mask=mine[None, :, None] & (hid < H))
    dst = tl.program_id(0) * SLICE + tl.arange(0, SLICE)[None, :]
    tl.store(out_mix + (base + row)[:, None] * H + dst, q, mask=(row < batch)[:, None] & (dst < H))
