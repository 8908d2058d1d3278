"""The streaming kernel: a program owns some rows for the whole rollout and reads all weights once a block-step.

No program waits for another, so any grid will do, and the kernel runs under the interpreter. Weights come from the L2
cache, whose bandwidth to one multiprocessor bounds a block-step. Letters as in reference.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.latent_rollout.tiles import drop_offsets, lift_offsets, mix_offsets


@triton.jit(do_not_specialize=["batch", "transitions", "blocks"])
def streaming_kernel(
    start,  # forward: T_0 (B, L), the state's dtype; adjoint: dLoss/dT (steps, B, L)
    states,  # forward: latents (S + 1, B, L), written; adjoint: adjoints, the same
    w_lift,  # (R, H, L) w1; adjoint: (R, L, H) w3
    w_mix,  # (R, H, H) w2
    w_drop,  # (R, L, H) w3; adjoint: (R, H, L) w1
    gate_lift,  # forward: b1 (R, H); adjoint: h2 (R, N, B, H), whose sign is the mask
    gate_mix,  # forward: b2 (R, H); adjoint: h1 (R, N, B, H)
    shift,  # forward: b3 (R, L); adjoint: not read
    out_lift,  # with KEEP, written: h1 (R, N, B, H); adjoint: dz2
    out_mix,  # with KEEP, written: h2 (R, N, B, H); adjoint: dz1
    batch,  # B
    transitions,  # N
    blocks,  # R; known only at run time, or a single block's weights are hoisted out of the loop and spill
    L: tl.constexpr,
    LP: tl.constexpr,  # L padded to a power of two, at least 16
    H: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    KEEP: tl.constexpr,
    ADJOINT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    operand = w_mix.dtype.element_ty
    row = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    lat = tl.arange(0, LP)[None, :]
    alive = row < batch
    cell = row * L + lat  # (BLOCK_B, LP) within one state
    inside = alive & (lat < L)
    size = batch.to(tl.int64) * L
    total = transitions * blocks

    if ADJOINT:
        x = tl.load(start + transitions * size + cell, mask=inside, other=0.0)
        tl.store(states + total * size + cell, x, mask=inside)
    else:
        x = tl.load(start + cell, mask=inside, other=0.0)
        tl.store(states + cell, x, mask=inside)

    done = 0
    while done < total:
        i = total - 1 - done if ADJOINT else done
        block = i % blocks
        step = i // blocks
        hidden_row = ((block * transitions + step).to(tl.int64) * batch + row) * H  # of a hidden layer
        y = tl.zeros([BLOCK_B, LP], tl.float32)
        x_operand = x.to(operand)
        for n in range(0, H, BLOCK_N):
            dst = n + tl.arange(0, BLOCK_N)[None, :]
            q = tl.zeros([BLOCK_B, BLOCK_N], tl.float32)
            for k in range(0, H, BLOCK_K):
                src = k + tl.arange(0, BLOCK_K)[None, :]
                lift = tl.load(
                    w_lift + lift_offsets(block, tl.trans(lat), src, L, H, ADJOINT),
                    mask=(tl.trans(lat) < L) & (src < H),
                    other=0.0,
                )  # (LP, BLOCK_K)
                p = tl.dot(x_operand, lift, input_precision=PRECISION)  # (BLOCK_B, BLOCK_K)
                if ADJOINT:
                    gate = tl.load(gate_lift + hidden_row + src, mask=alive & (src < H), other=0.0)
                    p = tl.where(gate > 0, p, 0.0).to(operand)
                else:
                    bias = tl.load(gate_lift + block * H + src, mask=src < H, other=0.0)
                    p = tl.maximum(p + bias, 0.0).to(operand)
                if KEEP:
                    tl.store(out_lift + hidden_row + src, p, mask=alive & (src < H) & (n == 0))
                col = tl.trans(src)
                mix = tl.load(
                    w_mix + mix_offsets(block, col, dst, H, ADJOINT), mask=(col < H) & (dst < H), other=0.0
                )  # (BLOCK_K, BLOCK_N)
                q = tl.dot(p, mix, q, input_precision=PRECISION)
            if ADJOINT:
                gate = tl.load(gate_mix + hidden_row + dst, mask=alive & (dst < H), other=0.0)
                q = tl.where(gate > 0, q, 0.0).to(operand)
            else:
                bias = tl.load(gate_mix + block * H + dst, mask=dst < H, other=0.0)
                q = tl.maximum(q + bias, 0.0).to(operand)
            if KEEP:
                tl.store(out_mix + hidden_row + dst, q, mask=alive & (dst < H))
            hid = tl.trans(dst)
            drop = tl.load(
                w_drop + drop_offsets(block, hid, lat, L, H, ADJOINT), mask=(hid < H) & (lat < L), other=0.0
            )  # (BLOCK_N, LP)
            y = tl.dot(q, drop, y, input_precision=PRECISION)
        x += y
        if ADJOINT:
            if block == 0:
                x += tl.load(start + step * size + cell, mask=inside, other=0.0)
            tl.store(states + i * size + cell, x, mask=inside)
        else:
            x += tl.load(shift + block * L + lat, mask=lat < L, other=0.0)
            tl.store(states + (i + 1) * size + cell, x, mask=inside)
        done += 1
