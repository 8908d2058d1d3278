"""The stationary kernel: G programs share some rows, each keeps a slice of the weights on chip for the whole rollout.

A program owns H/G output units of the *mix* (see tiles.py). The *lift* is cheap, so every program computes all of it;
its slice of the *drop* then gives a partial sum of the new state, (rows, latent), and those partial sums are all that
programs exchange: one all-reduce a block-step, summed in the same order by everyone, so the result does not depend on
timing. The hidden axis is split over warps as a batch axis of the products: each warp multiplies its own part of the
lift by its own rows of the mix slice, both of which stay in its registers. Letters as in reference.py.

Programs wait for each other, so all must be resident at once: the launch is cooperative and refused (op.py) otherwise.
"""

# ruff: noqa: SIM108, SIM114 - branches on compile-time arguments must not merge with others
from __future__ import annotations

import triton
import triton.language as tl

from kernels.latent_rollout.tiles import drop_offsets, lift_offsets, mix_offsets

SPIN_LIMIT = tl.constexpr(1 << 20)  # about a second; a rollout that waits longer is NaN instead of a hang


@triton.jit
def _some_multiple_of(n: tl.constexpr):
    """0, which the compiler takes for some multiple of ``n``, so that what is added to it is read by ``n`` at a time.

    Read by eights, a thread would have no two numbers of the same part but neighbours, and from Triton 3.7 on that puts
    the axis of parts second in shared memory: every read of a weight then has 8-way bank conflicts.
    """
    return tl.program_id(2) * n


@triton.jit
def _lift(w_lift, block, L: tl.constexpr, LP: tl.constexpr, H: tl.constexpr, PARTS: tl.constexpr, PART: tl.constexpr,
          ADJOINT: tl.constexpr):  # fmt: skip
    """All of the lift (PARTS, LP, PART), zero beyond L and H."""
    lat = tl.arange(0, LP)[None, :, None]
    hid = tl.arange(0, PARTS)[:, None, None] * PART + tl.arange(0, PART)[None, None, :]
    at = lift_offsets(block, lat, hid, L, H, ADJOINT) + _some_multiple_of(4)
    return tl.load(w_lift + at, mask=(lat < L) & (hid < H), other=0.0)


@triton.jit
def _mix_drop(w_mix, w_drop, block, L: tl.constexpr, LP: tl.constexpr, H: tl.constexpr, PARTS: tl.constexpr,
              PART: tl.constexpr, SLICE: tl.constexpr, ADJOINT: tl.constexpr):  # fmt: skip
    """This program's slices of the mix (PARTS, PART, SLICE) and of the drop (SLICE, LP), zero beyond H and L."""
    src = tl.arange(0, PARTS)[:, None, None] * PART + tl.arange(0, PART)[None, :, None]
    dst = tl.program_id(0) * SLICE + tl.arange(0, SLICE)
    at = mix_offsets(block, src, dst[None, None, :], H, ADJOINT) + _some_multiple_of(4 if SLICE >= 32 else 2)
    mix = tl.load(w_mix + at, mask=(src < H) & (dst[None, None, :] < H), other=0.0)
    lat = tl.arange(0, LP)[None, :]
    drop = tl.load(
        w_drop + drop_offsets(block, dst[:, None], lat, L, H, ADJOINT), mask=(dst[:, None] < H) & (lat < L), other=0.0
    )
    return mix, drop


@triton.jit
def _lift_gate(gate_lift, block, step, transitions, batch, H: tl.constexpr, PARTS: tl.constexpr, PART: tl.constexpr,
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
        at = block * H + hid + tl.zeros_like(k) + _some_multiple_of(2)
        bias = tl.load(gate_lift + at, mask=(k == 0) & (hid < H), other=0.0)
        return tl.dot(tl.full((PARTS, BLOCK_B, 16), 1.0, bias.dtype), bias, input_precision="ieee")


@triton.jit
def _mix_gate(gate_mix, block, step, transitions, batch, H: tl.constexpr, SLICE: tl.constexpr, BLOCK_B: tl.constexpr,
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
def _partial(x, lift, mix, drop, lifted, mixed, PARTS: tl.constexpr, ADJOINT: tl.constexpr, PRECISION: tl.constexpr):
    """This program's share (BLOCK_B, LP) of what the block adds to the state."""
    operand = mix.dtype
    rows = tl.broadcast_to(x.to(operand)[None], [PARTS, x.shape[0], x.shape[1]])
    if ADJOINT:
        p = tl.where(lifted > 0, tl.dot(rows, lift, input_precision=PRECISION), 0.0)  # (PARTS, BLOCK_B, PART)
    else:
        p = tl.maximum(tl.dot(rows, lift, lifted, input_precision=PRECISION), 0.0)
    q = _sum_parts(tl.dot(p.to(operand), mix, input_precision=PRECISION), PARTS)  # (BLOCK_B, SLICE)
    if ADJOINT:
        q = tl.where(mixed > 0, q, 0.0)
    else:
        q = tl.maximum(q + mixed, 0.0)
    return tl.dot(q.to(operand), drop, input_precision=PRECISION)  # (BLOCK_B, LP)


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
        lift0 = _lift(w_lift, first, L, LP, H, PARTS, PART, ADJOINT)
        if R > 1:
            lift1 = _lift(w_lift, first + sign, L, LP, H, PARTS, PART, ADJOINT)
        if R > 2:
            lift2 = _lift(w_lift, first + sign * 2, L, LP, H, PARTS, PART, ADJOINT)
        if R > 3:
            lift3 = _lift(w_lift, first + sign * 3, L, LP, H, PARTS, PART, ADJOINT)
    elif AHEAD:
        lift = _lift(w_lift, first, L, LP, H, PARTS, PART, ADJOINT)
    if HOLD:
        mix0, drop0 = _mix_drop(w_mix, w_drop, first, L, LP, H, PARTS, PART, SLICE, ADJOINT)
        if R > 1:
            mix1, drop1 = _mix_drop(w_mix, w_drop, first + sign, L, LP, H, PARTS, PART, SLICE, ADJOINT)
        if R > 2:
            mix2, drop2 = _mix_drop(w_mix, w_drop, first + sign * 2, L, LP, H, PARTS, PART, SLICE, ADJOINT)
        if R > 3:
            mix3, drop3 = _mix_drop(w_mix, w_drop, first + sign * 3, L, LP, H, PARTS, PART, SLICE, ADJOINT)
    elif AHEAD:
        mix, drop = _mix_drop(w_mix, w_drop, first, L, LP, H, PARTS, PART, SLICE, ADJOINT)
    # The lift's biases are held with the weights; masks and other biases are read every turn.
    LIFT_GATE: tl.constexpr = ADJOINT or not HOLD
    if not LIFT_GATE:
        bias0 = _lift_gate(gate_lift, 0, 0, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
        if R > 1:
            bias1 = _lift_gate(gate_lift, 1, 0, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
        if R > 2:
            bias2 = _lift_gate(gate_lift, 2, 0, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
        if R > 3:
            bias3 = _lift_gate(gate_lift, 3, 0, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
    if AHEAD:
        step = transitions - 1 if ADJOINT else 0
        mixed = _mix_gate(gate_mix, first, step, transitions, batch, H, SLICE, BLOCK_B, ADJOINT)
        if LIFT_GATE:
            lifted = _lift_gate(gate_lift, first, step, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)

    turn = 0
    while turn < total:
        i = total - 1 - turn if ADJOINT else turn
        block = i % R
        step = i // R
        if not AHEAD:
            mixed = _mix_gate(gate_mix, block, step, transitions, batch, H, SLICE, BLOCK_B, ADJOINT)
            if LIFT_GATE:
                lifted = _lift_gate(gate_lift, block, step, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
        if not HOLD:
            if not AHEAD:
                lift = _lift(w_lift, block, L, LP, H, PARTS, PART, ADJOINT)
                mix, drop = _mix_drop(w_mix, w_drop, block, L, LP, H, PARTS, PART, SLICE, ADJOINT)
            y = _partial(x, lift, mix, drop, lifted, mixed, PARTS, ADJOINT, PRECISION)
        elif R == 1:
            y = _partial(x, lift0, mix0, drop0, lifted if ADJOINT else bias0, mixed, PARTS, ADJOINT, PRECISION)
        # Branches at run time keep the compiler from moving every block's weights into registers at once.
        elif block == first:
            y = _partial(x, lift0, mix0, drop0, lifted if ADJOINT else bias0, mixed, PARTS, ADJOINT, PRECISION)
        elif R == 2:
            y = _partial(x, lift1, mix1, drop1, lifted if ADJOINT else bias1, mixed, PARTS, ADJOINT, PRECISION)
        elif block == first + sign:
            y = _partial(x, lift1, mix1, drop1, lifted if ADJOINT else bias1, mixed, PARTS, ADJOINT, PRECISION)
        elif R == 3:
            y = _partial(x, lift2, mix2, drop2, lifted if ADJOINT else bias2, mixed, PARTS, ADJOINT, PRECISION)
        elif block == first + sign * 2:
            y = _partial(x, lift2, mix2, drop2, lifted if ADJOINT else bias2, mixed, PARTS, ADJOINT, PRECISION)
        else:
            y = _partial(x, lift3, mix3, drop3, lifted if ADJOINT else bias3, mixed, PARTS, ADJOINT, PRECISION)
        _send(y, partials, arrived, turn, SLICES, BLOCK_B, LP)
        # What does not depend on the others' sums is read while they are on their way.
        if ADJOINT:
            extra = tl.load(start + step * size + cell, mask=inside & (block == 0), other=0.0)
        else:
            extra = tl.load(shift + block * L + lat, mask=lat < L, other=0.0)
        if AHEAD:
            ahead = (i + sign + total) % R
            step_ahead = tl.where(block == R - 1 - first, step + sign, step)
            mixed = _mix_gate(gate_mix, ahead, step_ahead, transitions, batch, H, SLICE, BLOCK_B, ADJOINT)
            if LIFT_GATE:
                lifted = _lift_gate(gate_lift, ahead, step_ahead, transitions, batch, H, PARTS, PART, BLOCK_B, ADJOINT)
            if not HOLD:
                lift = _lift(w_lift, ahead, L, LP, H, PARTS, PART, ADJOINT)
                mix, drop = _mix_drop(w_mix, w_drop, ahead, L, LP, H, PARTS, PART, SLICE, ADJOINT)
        x += _receive(partials, arrived, turn, SLICES, BLOCK_B, LP)
        x += extra
        if ADJOINT:
            tl.store(states + i * size + cell, x, mask=writes)
        else:
            tl.store(states + (i + 1) * size + cell, x, mask=writes)
        turn += 1
