"""The two ops that the compiler does not look into: a rollout, and the gradients of one.

Letters as in reference.py; M = N·B rows of a block, transitions outermost.
"""

from __future__ import annotations

import torch
from torch import Tensor, library

from kernels.latent_rollout import backends, reference
from kernels.latent_rollout.backends import Kept
from kernels.latent_rollout.reference import TENSORS_PER_BLOCK, state_dtype

library.define(
    "fastsep::latent_rollout",
    "(Tensor t0, Tensor[] weights, SymInt steps, ScalarType dtype, str backend, bool keep)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
library.define(
    "fastsep::latent_rollout_backward",
    "(Tensor latents, Tensor h1, Tensor h2, Tensor signs, Tensor grad, Tensor[] weights, ScalarType dtype, str backend)"
    " -> Tensor[]",
)


@library.impl("fastsep::latent_rollout", ("cpu", "cuda"))
def _forward(
    t0: Tensor, weights: list[Tensor], steps: int, dtype: torch.dtype, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents (S + 1, B, L), and with ``keep`` h1, h2 (R, M, H) and the signs of :class:`Kept`, else empty tensors."""
    with torch.autocast(t0.device.type, enabled=False), torch.no_grad():
        blocks = reference.stack_blocks(weights, dtype)
        latents, kept = backends.forward(t0, blocks, steps, backend, keep)
        return latents, *kept


@library.impl("fastsep::latent_rollout_backward", ("cpu", "cuda"))
def _backward(
    latents: Tensor,
    h1: Tensor,
    h2: Tensor,
    signs: Tensor,
    grad: Tensor,
    weights: list[Tensor],
    dtype: torch.dtype,
    backend: str,
) -> list[Tensor]:
    """Adjoints (S + 1, B, L), then the gradients of all weights in their dtype, stacked over blocks."""
    with torch.autocast(grad.device.type, enabled=False), torch.no_grad():
        blocks = reference.stack_blocks(weights, dtype)
        to = weights[0].dtype
        adjoints, stacks = backends.backward(latents, Kept(h1, h2, signs), grad.to(latents.dtype), blocks, backend, to)
        return [adjoints, *(stack.to(to) for stack in stacks)]


@library.register_fake("fastsep::latent_rollout")
def _(
    t0: Tensor, weights: list[Tensor], steps: int, dtype: torch.dtype, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    count, width = len(weights) // TENSORS_PER_BLOCK, weights[0].shape[0]
    latents = t0.new_empty(((steps - 1) * count + 1, *t0.shape), dtype=state_dtype(dtype))
    rows = (steps - 1) * t0.shape[0] if keep else 0
    h1, h2 = (t0.new_empty((count, rows, width), dtype=dtype) for _ in range(2))
    signs = backends.signs_shape(backend, (steps - 1) * count, t0.shape[0]) if keep else (0,)
    return latents, h1, h2, t0.new_empty(signs, dtype=torch.uint8)


@library.register_fake("fastsep::latent_rollout_backward")
def _(
    latents: Tensor,
    h1: Tensor,
    h2: Tensor,
    signs: Tensor,
    grad: Tensor,
    weights: list[Tensor],
    dtype: torch.dtype,
    backend: str,
) -> list[Tensor]:
    count = len(weights) // TENSORS_PER_BLOCK
    stacks = (w.new_empty((count, *w.shape)) for w in weights[:TENSORS_PER_BLOCK])
    return [torch.empty_like(latents), *stacks]


forward = torch.ops.fastsep.latent_rollout
backward = torch.ops.fastsep.latent_rollout_backward
