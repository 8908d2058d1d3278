"""The latent rollout in plain PyTorch: its definition, and its adjoint derived by hand.

Letters: B batch, L latent size, H hidden width, R residual blocks, N = steps - 1 transitions, S = N·R block-steps.

One block-step: ``T <- T + W3·relu(W2·relu(W1·T + b1) + b2) + b3``. Weights reach the products in a *compute dtype*; the
state T is float32 (float64 where the compute dtype is float64). The derivation is in this folder's README.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

TENSORS_PER_BLOCK = 6


class Blocks(NamedTuple):
    """The weights of all residual blocks, stacked, contiguous and in the compute dtype (``b3`` in the state's)."""

    w1: Tensor  # (R, H, L)
    b1: Tensor  # (R, H)
    w2: Tensor  # (R, H, H)
    b2: Tensor  # (R, H)
    w3: Tensor  # (R, L, H)
    b3: Tensor  # (R, L)


class Hidden(NamedTuple):
    """What the weight gradients are products of, for every block; M = N·B rows, transitions outermost."""

    t: Tensor  # (R, M, L) the block's input
    h1: Tensor  # (R, M, H)
    h2: Tensor  # (R, M, H)


class Kept(NamedTuple):
    """What the forward direction leaves for the way back; M = N·B rows, transitions outermost. No rows where nothing
    was to be kept."""

    h1: Tensor  # (R, M, H) in the compute dtype
    h2: Tensor  # (R, M, H)
    signs: Tensor  # (2, S, G, 8, 32, 8) uint8: of h1 and of h2, a bit each, for the cluster kernel; or empty


def weight_shapes(latent: int, width: int) -> tuple[tuple[int, ...], ...]:
    """Of the six tensors of a residual block: W1, b1, W2, b2, W3, b3."""
    return (width, latent), (width,), (width, width), (width,), (latent, width), (latent,)


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the state and of every accumulation for a compute dtype."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def rollout_reference(t0: Tensor, weights: Sequence[Tensor], steps: int, dtype: torch.dtype) -> Tensor:
    """The definition, differentiated by autograd. Arguments as in :func:`kernels.latent_rollout.rollout`.

    Returns:
        (steps, B, L) in the state's dtype.
    """
    with torch.autocast(t0.device.type, enabled=False):
        state = t0.to(state_dtype(dtype))
        blocks = [
            [*(w.to(dtype) for w in weights[i : i + 5]), weights[i + 5].to(state.dtype)]
            for i in range(0, len(weights), TENSORS_PER_BLOCK)
        ]
        states = [state]
        for _ in range(steps - 1):
            for w1, b1, w2, b2, w3, b3 in blocks:
                hidden = functional.linear(state.to(dtype), w1, b1).relu()  # (B, H)
                hidden = functional.linear(hidden, w2, b2).relu()  # (B, H)
                state = state + b3 + functional.linear(hidden, w3)  # (B, L)
            states.append(state)
        return torch.stack(states)


def stack_blocks(weights: Sequence[Tensor], dtype: torch.dtype) -> Blocks:
    """Cast the flat sequence of weights to the compute dtype, one leading axis over blocks."""
    count = len(weights) // TENSORS_PER_BLOCK
    stacks: list[Tensor] = []
    copies: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for j in range(TENSORS_PER_BLOCK):
        group = weights[j::TENSORS_PER_BLOCK]
        to = state_dtype(dtype) if j == TENSORS_PER_BLOCK - 1 else dtype
        stack = torch.empty((count, *group[0].shape), dtype=to, device=group[0].device)
        stacks.append(stack)
        targets, sources = copies.setdefault(to, ([], []))
        targets.extend(stack.unbind())
        sources.extend(w.detach() for w in group)
    for targets, sources in copies.values():  # on a GPU one launch a dtype; a list of two dtypes takes one a tensor
        torch._foreach_copy_(targets, sources)
    return Blocks(*stacks)


def unstack(stacks: Sequence[Tensor]) -> list[Tensor]:
    """The flat sequence of one tensor a weight (views) from six stacks, as in :class:`Blocks`."""
    return [stack[k] for k in range(len(stacks[0])) for stack in stacks]


def empty_hidden(t0: Tensor, blocks: Blocks, steps: int) -> tuple[Tensor, Tensor]:
    """Room for both hidden activations of every block-step, (R, N·B, H) in the compute dtype."""
    count, width, _ = blocks.w1.shape
    h1 = torch.empty((count, (steps - 1) * t0.shape[0], width), dtype=blocks.w1.dtype, device=t0.device)
    return h1, torch.empty_like(h1)


def trajectory(t0: Tensor, blocks: Blocks, steps: int, keep: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Roll out without recording for autograd and keep the state after every block.

    Args:
        keep: where to leave the hidden activations too, as from :func:`empty_hidden`.

    Returns:
        latents (S + 1, B, L) in the state's dtype; ``latents[::R]`` are T_0 ... T_N.
    """
    count = blocks.w1.shape[0]
    kept = None if keep is None else [h.view(count, steps - 1, t0.shape[0], h.shape[-1]) for h in keep]
    latents = torch.empty(((steps - 1) * count + 1, *t0.shape), dtype=blocks.b3.dtype, device=t0.device)
    latents[0] = t0
    for i in range(latents.shape[0] - 1):
        w1, b1, w2, b2, w3, b3 = (w[i % count] for w in blocks)
        n, k = divmod(i, count)
        h1, h2 = (None, None) if kept is None else (kept[0][k, n], kept[1][k, n])
        h = torch.addmm(b1, latents[i].to(w1.dtype), w1.T, out=h1).relu_()  # (B, H)
        h = torch.addmm(b2, h, w2.T, out=h2).relu_()  # (B, H)
        torch.add(latents[i] + b3, torch.mm(h, w3.T), out=latents[i + 1])
    return latents


def by_block(rows: Tensor, count: int) -> Tensor:
    """(S, B, X) -> (R, N·B, X): the rows of one block together."""
    s, b, x = rows.shape
    return rows.view(s // count, count, b, x).transpose(0, 1).reshape(count, s // count * b, x)


def hidden_states(latents: Tensor, blocks: Blocks, kept: tuple[Tensor, Tensor] | None = None) -> Hidden:
    """Both hidden activations of every block-step: as kept, or rebuilt with two large products per block."""
    t = by_block(latents[:-1], blocks.w1.shape[0]).to(blocks.w1.dtype)  # (R, M, L)
    if kept is not None:
        return Hidden(t, *kept)
    h1 = torch.baddbmm(blocks.b1[:, None], t, blocks.w1.mT).relu_()  # (R, M, H)
    h2 = torch.baddbmm(blocks.b2[:, None], h1, blocks.w2.mT).relu_()  # (R, M, H)
    return Hidden(t, h1, h2)


def recursion(grad: Tensor, hidden: Hidden, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor]:
    """Carry dLoss/dT backwards through every block-step.

    Args:
        grad: (steps, B, L) dLoss/dT_k of the rollout's output, in the state's dtype.

    Returns:
        adjoints (S + 1, B, L), the total derivative by each entry of ``latents``, and ``dz1``, ``dz2`` (R, M, H), the
        derivatives by the two hidden layers' inputs, in the compute dtype.
    """
    count, width, _ = blocks.w1.shape
    steps, batch, latent = grad.shape
    adjoints = torch.empty(((steps - 1) * count + 1, batch, latent), dtype=grad.dtype, device=grad.device)
    shape = (count, steps - 1, batch, width)
    h1, h2 = hidden.h1.view(shape), hidden.h2.view(shape)
    dz1, dz2 = torch.empty_like(h1), torch.empty_like(h2)
    adjoints[-1] = grad[-1]
    for i in reversed(range((steps - 1) * count)):
        n, k = divmod(i, count)
        z2 = torch.mm(adjoints[i + 1].to(h2.dtype), blocks.w3[k], out=dz2[k, n])  # (B, H)
        torch.ops.aten.threshold_backward.grad_input(z2, h2[k, n], 0, grad_input=z2)
        z1 = torch.mm(z2, blocks.w2[k], out=dz1[k, n])  # (B, H)
        torch.ops.aten.threshold_backward.grad_input(z1, h1[k, n], 0, grad_input=z1)
        torch.add(adjoints[i + 1], torch.mm(z1, blocks.w1[k]), out=adjoints[i])
        if k == 0:
            adjoints[i] += grad[n]
    return adjoints, dz1.flatten(1, 2), dz2.flatten(1, 2)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """aᵀ·b per block, accumulated and, where the library can, returned in the state's dtype."""
    if a.is_cuda and a.dtype in (torch.float16, torch.bfloat16):
        return torch.bmm(a.mT, b, out_dtype=torch.float32)
    return torch.bmm(a.mT, b)


def weight_gradients(adjoints: Tensor, hidden: Hidden, dz1: Tensor, dz2: Tensor) -> Blocks:
    """One large product over transitions and batch for every weight of a block, in the state's dtype where it can."""
    g = by_block(adjoints[1:], dz1.shape[0])  # (R, M, L)
    to = adjoints.dtype
    return Blocks(
        w1=_product(dz1, hidden.t),  # (R, H, L)
        b1=dz1.sum(1, dtype=to),  # (R, H)
        w2=_product(dz2, hidden.h1),  # (R, H, H)
        b2=dz2.sum(1, dtype=to),  # (R, H)
        w3=_product(g.to(dz2.dtype), hidden.h2),  # (R, L, H)
        b3=g.sum(1),  # (R, L)
    )


def adjoint(
    latents: Tensor, grad: Tensor, blocks: Blocks, kept: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Blocks]:
    """Gradients of the rollout by hand.

    Args:
        latents: (S + 1, B, L) from :func:`trajectory`.
        grad: (steps, B, L) in the state's dtype.
        kept: hidden activations that :func:`trajectory` kept; rebuilt when left out.

    Returns:
        adjoints (S + 1, B, L), the first of them dLoss/dT_0, and the gradients of all weights, stacked as they are.
    """
    hidden = hidden_states(latents, blocks, kept)
    adjoints, dz1, dz2 = recursion(grad, hidden, blocks)
    return adjoints, weight_gradients(adjoints, hidden, dz1, dz2)
