"""The public function: checks, dtypes, choice of backend, autograd.

Letters as in reference.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import kernels
from kernels.latent_rollout import opaque, reference
from kernels.latent_rollout.backends import CLUSTER_ROWS, TRITON
from kernels.latent_rollout.reference import TENSORS_PER_BLOCK, unstack, weight_shapes
from kernels.latent_rollout.settle import settled
from kernels.portable import exporting

BACKENDS = ("auto", "autograd", "adjoint", *TRITON, *CLUSTER_ROWS)

CPU_BACKEND = "adjoint"
"""What ``auto`` means for tensors on the CPU: ``adjoint`` or ``autograd``, whichever measures faster in training."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SETTING = kernels.setting()


def rollout(
    t0: Tensor,
    weights: Sequence[Tensor],
    steps: int,
    *,
    dtype: torch.dtype | None = None,
    backend: str = "auto",
) -> Tensor:
    """Roll a latent state out through residual blocks: the explicit Euler integration of a latent ODE.

    Dtypes. The *compute dtype*, in which weights and activations enter products, is ``dtype``, else autocast's where
    autocast is on for the device, else that of ``weights``; float64 weights or states compute in float64 whatever the
    rest says. The state, every accumulation in the kernels and the result are float32 (float64 for float64).
    Gradients come back in the dtypes of ``t0`` and of each weight.

    Args:
        t0: (B, L) first state T_0.
        weights: six tensors per residual block as ``nn.Linear`` stores them: w1 (H, L), b1 (H), w2 (H, H), b2 (H),
            w3 (L, H), b3 (L). Differentiable, as is ``t0``.
        steps: number of states to return, T_0 included; at least 1.
        dtype: compute dtype, or None to derive it as above.
        backend: ``auto``, or one of ``autograd`` (the definition), ``adjoint`` (plain products, derivatives by hand),
            ``streaming`` and ``stationary`` (Triton), ``cluster8`` and ``cluster16`` (CUDA C++, so many rows a
            cluster). ``FASTSEP_KERNELS=torch|triton|auto``, read at import, changes what ``auto`` means: ``torch`` is
            ``autograd``, ``triton`` refuses to run without a Triton kernel. Exported programs hold ``autograd``.

    Returns:
        (steps, B, L), T_0 first.

    Raises:
        ValueError: wrong shapes, dtypes or backend, or no kernel where one was asked for.

    Source: Donà et al. 2021 (arXiv 2008.01352), section 3.3.
    """
    _check(t0, weights, steps, dtype, backend)
    compute = _compute_dtype(t0, weights, dtype)
    if backend == "auto":
        if _SETTING == "torch" or exporting():  # an exported program must do without this one
            backend = "autograd"
        elif _SETTING == "triton":
            backend = "triton"
        elif t0.device.type == "cpu":
            backend = CPU_BACKEND
        else:
            gradients = torch.is_grad_enabled() and any(t.requires_grad for t in (t0, *weights))
            backend = settled(t0, weights, steps, compute, gradients)
    if backend == "autograd":
        return reference.rollout_reference(t0, weights, steps, compute)
    return _Rollout.apply(t0, steps, compute, backend, *weights)


def _check(t0: Tensor, weights: Sequence[Tensor], steps: int, dtype: torch.dtype | None, backend: str) -> None:
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if steps < 1:
        raise ValueError(f"steps is {steps}: at least 1, the first state")
    if t0.dim() != 2:
        raise ValueError(f"t0 has shape {tuple(t0.shape)}: (batch, latent) is needed")
    if not weights or len(weights) % TENSORS_PER_BLOCK:
        raise ValueError(f"{len(weights)} weights: {TENSORS_PER_BLOCK} per residual block are needed")
    if t0.dtype not in _FLOATS or weights[0].dtype not in _FLOATS or dtype not in (None, *_FLOATS):
        raise ValueError(f"t0 {t0.dtype}, weights {weights[0].dtype}, dtype {dtype}: floating-point ones are needed")
    latent, width = t0.shape[1], weights[0].shape[0]
    shapes = weight_shapes(latent, width)
    for i, weight in enumerate(weights):
        if weight.shape != shapes[i % TENSORS_PER_BLOCK] or weight.dtype != weights[0].dtype:
            raise ValueError(
                f"weight {i} is {tuple(weight.shape)} {weight.dtype}: "
                f"{shapes[i % TENSORS_PER_BLOCK]} {weights[0].dtype} is needed"
            )


def _compute_dtype(t0: Tensor, weights: Sequence[Tensor], dtype: torch.dtype | None) -> torch.dtype:
    if torch.float64 in (t0.dtype, weights[0].dtype, dtype):
        return torch.float64
    if dtype is not None:
        return dtype
    if torch.is_autocast_enabled(t0.device.type):
        return torch.get_autocast_dtype(t0.device.type)
    return weights[0].dtype


class _Rollout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, t0: Tensor, steps: int, dtype: torch.dtype, backend: str, *weights: Tensor) -> Tensor:
        keep = any(ctx.needs_input_grad)
        blocks = opaque.stack(weights, dtype)
        latents, *kept = opaque.forward(t0, blocks, steps, backend, keep)
        ctx.save_for_backward(latents, *kept, *blocks)
        ctx.backend, ctx.t0_dtype, ctx.weights_dtype = backend, t0.dtype, weights[0].dtype
        return latents[:: len(weights) // TENSORS_PER_BLOCK]

    @staticmethod
    def backward(ctx, grad: Tensor):
        latents, h1, h2, signs, *blocks = ctx.saved_tensors
        adjoints, *stacks = opaque.backward(latents, h1, h2, signs, grad, blocks, ctx.weights_dtype, ctx.backend)
        return adjoints[0].to(ctx.t0_dtype), None, None, None, *unstack(stacks)
