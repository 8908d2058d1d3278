"""The stationary kernel: G programs share some rows, each keeps a slice of the weights on chip for the whole rollout.

A program owns H/G output units of the *mix* (see tiles.py). The *lift* is cheap, so every program computes all of it;
its slice of the *drop* then gives a partial sum of the new state, (rows, latent), and those partial sums are all that
programs exchange: one all-reduce a block-step, summed in the same order by everyone, so the result does not depend on
timing. The hidden axis is split over warps as a batch axis of the products: each warp multiplies its own part of the
lift by its own rows of the mix slice, both of which stay in its registers. Letters as in reference.py.

Programs wait for each other, so all must be resident at once: the launch is cooperative, and configs.py takes another
kernel otherwise.
"""

# ruff: noqa: SIM114 - branches on compile-time arguments must not merge with others
from __future__ import annotations

import triton
import triton.language as tl

from kernels.latent_rollout.slices import keep_hidden, lift_gate, load_weights, mix_gate, partial_sum

SPIN_LIMIT = tl.constexpr(1 << 20)  # about a second; a rollout that waits longer is NaN instead of a hang


@triton.jit
def _send(y, partials, arrived, turn, SLICES: tl.constexpr, BLOCK_B: tl.constexpr, LP: tl.constexpr):
    """Publish this program's partial sum for block-step ``turn``."""
    group = (turn % 2) * tl.num_programs(1) + tl.program_id(1)
    cell = tl.arange(0, BLOCK_B)[:, None] * LP + tl.arange(0, LP)[None, :]
    tl.store(partials + (group * SLICES + tl.program_id(0)) * (BLOCK_B * LP) + cell, y)
    tl.debug_barrier()
    tl.atomic_add(arrived + tl.program_id(1), 1, sem="release")


@triton.jit
def _receive(partials, arrived, turn, SLICES: tl.constexpr, BLOCK_B: tl.constexpr, LP: tl.constexpr):
    """The sum of all slices' partial sums (BLOCK_B, LP) for block-step ``turn``, in slice order."""
    group = (turn % 2) * tl.num_programs(1) + tl.program_id(1)
    cell = tl.arange(0, BLOCK_B)[:, None] * LP + tl.arange(0, LP)[None, :]
    tries = 0
    wanted = (turn + 1) * SLICES
    seen = tl.atomic_add(arrived + tl.program_id(1), 0, sem="acquire")
    while (seen < wanted) & (tries < SPIN_LIMIT):
        seen = tl.atomic_add(arrived + tl.program_id(1), 0, sem="acquire")
        tries += 1
    tl.debug_barrier()
    source = partials + group * (SLICES * BLOCK_B * LP) + cell
    y = tl.zeros([BLOCK_B, LP], tl.float32)
    for _slice in tl.static_range(SLICES):  # independent loads, each thread adding its own cells
        y += tl.load(source, cache_modifier=".cg")  # past the L1 cache, which may hold the slot's last use
        source += BLOCK_B * LP
    return tl.where(tries < SPIN_LIMIT, y, float("nan"))


@triton.jit(do_not_specialize=["batch", "transitions"])
def stationary_kernel(
    start,  # forward: T_0 (B, L), float32; adjoint: dLoss/dT (steps, B, L)
    states,  # forward: latents (S + 1, B, L), written; adjoint: adjoints, the same
    w_lift,  # (R, H, L) w1; adjoint: (R, L, H) w3
    w_mix,  # (R, H, H) w2
    w_drop,  # (R, L, H) w3; adjoint: (R, H, L) w1
    gate_lift,  # forward: b1 (R, H); adjoint: h2 (R, N, B, H), whose sign is the mask
    gate_mix,  # forward: b2 (R, H); adjoint: h1 (R, N, B, H)
    shift,  # forward: b3 (R, L); adjoint: not read
    out_lift,  # with KEEP, written: h1 (R, N, B, H); adjoint: dz2
    out_mix,  # with KEEP, written: h2 (R, N, B, H); adjoint: dz1
    partials,  # (2, groups, SLICES, BLOCK_B·LP) float32
    arrived,  # (groups,) int32, zero
    batch,  # B
    transitions,  # N
    L: tl.constexpr,
    LP: tl.constexpr,  # L padded to a power of two, at least 16
    H: tl.constexpr,
    R: tl.constexpr,
    BLOCK_B: tl.constexpr,
    SLICES: tl.constexpr,
    SLICE: tl.constexpr,  # SLICES·SLICE = PARTS·PART = H padded to a power of two
    PARTS: tl.constexpr,
    PART: tl.constexpr,
    HOLD: tl.constexpr,  # keep the weights of all blocks on chip, else read them again every turn
    AHEAD: tl.constexpr,  # read what the next turn needs before waiting for this one's sums
    KEEP: tl.constexpr,
    ADJOINT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    row = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    lat = tl.arange(0, LP)[None, :]
    cell = row * L + lat
    inside = (row < batch) & (lat < L)
    writes = inside & (tl.program_id(0) == 0)
    size = batch.to(tl.int64) * L
    total = transitions * R

    if ADJOINT:
        x = tl.load(start + transitions * size + cell, mask=inside, other=0.0)
        tl.store(states + total * size + cell, x, mask=writes)
    else:
        x = tl.load(start + cell, mask=inside, other=0.0)
        tl.store(states + cell, x, mask=writes)

    # Turn j of a step is block 0, 1, ... forward and the reverse backward.
    first = R - 1 if ADJOINT else 0
    sign = -1 if ADJOINT else 1
    if HOLD:
        weights0 = load_weights(w_lift, w_mix, w_drop, first, L, LP, H, PARTS, PART, SLICE, ADJOINT)
        if R > 1:
            weights1 = load_weights(w_lift, w_mix, w_drop, first + sign, L, LP, H, PARTS, PART, SLICE, ADJOINT)
        if R > 2:
            weights2 = load_weights(w_lift, w_mix, w_drop, first + sign * 2, L, LP, H, PARTS, PART, SLICE, ADJOINT)
        if R > 3:
            weights3 = load_weights(w_lift, w_mix, w_drop, first + sign * 3, L, LP, H, PARTS, PART, SLICE, ADJOINT)
    elif AHEAD:
        weights = load_weights(w_lift, w_mix, w_drop, first, L, LP, H, PARTS, PART, SLICE, ADJOINT)
    # The lift's biases are held with the weights; masks and other biases are read every turn.
    BIAS_HELD: tl.constexpr = HOLD and not ADJOINT
    if BIAS_HELD:
        bias0 = lift_gate(gate_lift, 0, 0, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
        if R > 1:
            bias1 = lift_gate(gate_lift, 1, 0, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
        if R > 2:
            bias2 = lift_gate(gate_lift, 2, 0, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
        if R > 3:
            bias3 = lift_gate(gate_lift, 3, 0, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
    if AHEAD:
        step = transitions - 1 if ADJOINT else 0
        mixed = mix_gate(gate_mix, first, step, transitions, batch, H, SLICE, BLOCK_B, ADJOINT)
        if not BIAS_HELD:
            lifted = lift_gate(gate_lift, first, step, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)

    turn = 0
    while turn < total:
        i = total - 1 - turn if ADJOINT else turn
        block = i % R
        step = i // R
        if not AHEAD:
            mixed = mix_gate(gate_mix, block, step, transitions, batch, H, SLICE, BLOCK_B, ADJOINT)
            if not BIAS_HELD:
                lifted = lift_gate(gate_lift, block, step, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
        if not HOLD:
            if not AHEAD:
                weights = load_weights(w_lift, w_mix, w_drop, block, L, LP, H, PARTS, PART, SLICE, ADJOINT)
            y, p, q = partial_sum(x, weights, lifted, mixed, PARTS, ADJOINT, PRECISION)
        elif R == 1:
            y, p, q = partial_sum(x, weights0, bias0 if BIAS_HELD else lifted, mixed, PARTS, ADJOINT, PRECISION)
        # Branches at run time keep the compiler from moving every block's weights into registers at once.
        elif block == first:
            y, p, q = partial_sum(x, weights0, bias0 if BIAS_HELD else lifted, mixed, PARTS, ADJOINT, PRECISION)
        elif R == 2:
            y, p, q = partial_sum(x, weights1, bias1 if BIAS_HELD else lifted, mixed, PARTS, ADJOINT, PRECISION)
        elif block == first + sign:
            y, p, q = partial_sum(x, weights1, bias1 if BIAS_HELD else lifted, mixed, PARTS, ADJOINT, PRECISION)
        elif R == 3:
            y, p, q = partial_sum(x, weights2, bias2 if BIAS_HELD else lifted, mixed, PARTS, ADJOINT, PRECISION)
        elif block == first + sign * 2:
            y, p, q = partial_sum(x, weights2, bias2 if BIAS_HELD else lifted, mixed, PARTS, ADJOINT, PRECISION)
        else:
            y, p, q = partial_sum(x, weights3, bias3 if BIAS_HELD else lifted, mixed, PARTS, ADJOINT, PRECISION)
        _send(y, partials, arrived, turn, SLICES, BLOCK_B, LP)
        # What the others need not wait for is written and read while their sums are on their way.
        if KEEP:
            keep_hidden(
                p, q, out_lift, out_mix, block, step, transitions, batch, H, PARTS, PART, SLICE, SLICES, BLOCK_B
            )
        if ADJOINT:
            extra = tl.load(start + step * size + cell, mask=inside & (block == 0), other=0.0)
        else:
            extra = tl.load(shift + block * L + lat, mask=lat < L, other=0.0)
        if AHEAD:
            ahead = (i + sign + total) % R
            step_ahead = tl.where(block == R - 1 - first, step + sign, step)
            mixed = mix_gate(gate_mix, ahead, step_ahead, transitions, batch, H, SLICE, BLOCK_B, ADJOINT)
            if not BIAS_HELD:
                lifted = lift_gate(gate_lift, ahead, step_ahead, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
            if not HOLD:
                weights = load_weights(w_lift, w_mix, w_drop, ahead, L, LP, H, PARTS, PART, SLICE, ADJOINT)
        x += _receive(partials, arrived, turn, SLICES, BLOCK_B, LP)
        x += extra
        if ADJOINT:
            tl.store(states + i * size + cell, x, mask=writes)
        else:
            tl.store(states + (i + 1) * size + cell, x, mask=writes)
        turn += 1
