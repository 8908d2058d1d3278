"""What both kernels share: where a weight tile lies, in either direction of time.

The adjoint of a block-step has the shape of a block-step. Forward, ``y = W3·relu(W2·relu(W1·x + b1) + b2) + b3``;
backward, ``y = W1ᵀ·(m1 ⊙ W2ᵀ·(m2 ⊙ W3ᵀ·x))``. So one kernel serves both: *lift* (L -> H), *mix* (H -> H), *drop*
(H -> L), which are W1, W2, W3 forward and W3ᵀ, W2ᵀ, W1ᵀ backward; a bias and ReLU forward, a mask backward.
Weights are stored as ``nn.Linear`` does, (out, in), blocks along a leading axis.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def lift_offsets(block, lat, hid, L: tl.constexpr, H: tl.constexpr, ADJOINT: tl.constexpr):
    """Offsets of lift[lat, hid]; ``lat`` and ``hid`` broadcast against each other."""
    if ADJOINT:
        return block * (L * H) + lat * H + hid
    else:
        return block * (L * H) + hid * L + lat


@triton.jit
def mix_offsets(block, src, dst, H: tl.constexpr, ADJOINT: tl.constexpr):
    """Offsets of mix[src, dst], from hidden unit ``src`` to hidden unit ``dst``."""
    if ADJOINT:
        return block * (H * H) + src * H + dst
    else:
        return block * (H * H) + dst * H + src


@triton.jit
def drop_offsets(block, hid, lat, L: tl.constexpr, H: tl.constexpr, ADJOINT: tl.constexpr):
    """Offsets of drop[hid, lat]."""
    if ADJOINT:
        return block * (L * H) + hid * L + lat
    else:
        return block * (L * H) + lat * H + hid
