"""The ops that the compiler does not look into: weights as kernels take them, a rollout, and the gradients of one.

Letters as in reference.py; M = N·B rows of a block, transitions outermost.
"""

from __future__ import annotations

import torch
from torch import Tensor, library

from kernels.latent_rollout import backends, reference
from kernels.latent_rollout.reference import TENSORS_PER_BLOCK, Blocks, Kept, state_dtype

library.define("fastsep::latent_rollout_blocks", "(Tensor[] weights, ScalarType dtype) -> Tensor[]")
library.define(
    "fastsep::latent_rollout",
    "(Tensor t0, Tensor[] blocks, SymInt steps, str backend, bool keep) -> (Tensor, Tensor, Tensor, Tensor)",
)
library.define(
    "fastsep::latent_rollout_backward",
    "(Tensor latents, Tensor h1, Tensor h2, Tensor signs, Tensor grad, Tensor[] blocks, ScalarType dtype, str backend)"
    " -> Tensor[]",
)


@library.impl("fastsep::latent_rollout_blocks", ("cpu", "cuda"))
def _stack(weights: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The six stacks of :class:`Blocks`."""
    with torch.no_grad():
        return list(reference.stack_blocks(weights, dtype))


@library.impl("fastsep::latent_rollout", ("cpu", "cuda"))
def _forward(
    t0: Tensor, blocks: list[Tensor], steps: int, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents (S + 1, B, L), and with ``keep`` h1, h2 (R, M, H) and the signs of :class:`Kept`, else empty tensors."""
    with torch.autocast(t0.device.type, enabled=False), torch.no_grad():
        latents, kept = backends.forward(t0, Blocks(*blocks), steps, backend, keep)
        return latents, *kept


@library.impl("fastsep::latent_rollout_backward", ("cpu", "cuda"))
def _backward(
    latents: Tensor,
    h1: Tensor,
    h2: Tensor,
    signs: Tensor,
    grad: Tensor,
    blocks: list[Tensor],
    dtype: torch.dtype,
    backend: str,
) -> list[Tensor]:
    """Adjoints (S + 1, B, L), then the gradients of all weights in ``dtype``, stacked as ``blocks``."""
    with torch.autocast(grad.device.type, enabled=False), torch.no_grad():
        kept, grad = Kept(h1, h2, signs), grad.to(latents.dtype)
        adjoints, stacks = backends.backward(latents, kept, grad, Blocks(*blocks), backend, dtype)
        return [adjoints, *(stack.to(dtype) for stack in stacks)]


@library.register_fake("fastsep::latent_rollout_blocks")
def _(weights: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    count = len(weights) // TENSORS_PER_BLOCK
    dtypes = (*[dtype] * (TENSORS_PER_BLOCK - 1), state_dtype(dtype))
    block = zip(weights[:TENSORS_PER_BLOCK], dtypes, strict=True)
    return [torch.empty((count, *w.shape), dtype=to, device=w.device) for w, to in block]


@library.register_fake("fastsep::latent_rollout")
def _(t0: Tensor, blocks: list[Tensor], steps: int, backend: str, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    count, width, _ = blocks[0].shape
    dtype = blocks[0].dtype
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
    blocks: list[Tensor],
    dtype: torch.dtype,
    backend: str,
) -> list[Tensor]:
    return [torch.empty_like(latents), *(stack.new_empty(stack.shape, dtype=dtype) for stack in blocks)]


def stack(weights: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    """The six stacks of :class:`Blocks`; those of a single block that need no cast are the weights themselves."""
    if len(weights) == TENSORS_PER_BLOCK and weights[0].dtype == dtype == state_dtype(dtype):
        return [weight.detach().contiguous()[None] for weight in weights]
    return torch.ops.fastsep.latent_rollout_blocks(weights, dtype)


forward = torch.ops.fastsep.latent_rollout
backward = torch.ops.fastsep.latent_rollout_backward
