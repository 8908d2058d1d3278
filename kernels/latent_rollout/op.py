"""The public function: checks, dtypes, choice of backend, autograd.

Letters as in reference.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, library

import kernels
from kernels.latent_rollout import reference
from kernels.latent_rollout.configs import Stationary, Streaming, choose
from kernels.latent_rollout.reference import TENSORS_PER_BLOCK, Blocks, state_dtype

BACKENDS = ("auto", "autograd", "adjoint", "streaming", "stationary")

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
            ``streaming`` and ``stationary`` (Triton). ``FASTSEP_KERNELS=torch|triton|auto``, read at import, changes
            what ``auto`` means: ``torch`` is ``autograd``, ``triton`` refuses to run without a kernel.

    Returns:
        (steps, B, L), T_0 first.

    Raises:
        ValueError: wrong shapes, dtypes or backend, or no kernel where one was asked for.

    Source: Donà et al. 2021 (arXiv 2008.01352), section 3.3.
    """
    _check(t0, weights, steps, dtype, backend)
    compute = _compute_dtype(t0, weights, dtype)
    if backend == "auto":
        if _SETTING == "torch":
            backend = "autograd"
        elif _SETTING == "triton":
            backend = "triton"
        elif t0.device.type == "cpu":
            backend = CPU_BACKEND
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
    shapes = ((width, latent), (width,), (width, width), (width,), (latent, width), (latent,))
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
        # A CPU has the memory and not the arithmetic: it keeps what a GPU rebuilds.
        keep = t0.device.type == "cpu" and any(ctx.needs_input_grad)
        latents, *hidden = torch.ops.fastsep.latent_rollout(t0, weights, steps, dtype, backend, keep)
        ctx.save_for_backward(latents, *hidden, *weights)
        ctx.dtype, ctx.backend, ctx.t0_dtype = dtype, backend, t0.dtype
        return latents[:: len(weights) // TENSORS_PER_BLOCK]

    @staticmethod
    def backward(ctx, grad: Tensor):
        latents, h1, h2, *weights = ctx.saved_tensors
        by_t0, *by_weights = torch.ops.fastsep.latent_rollout_backward(
            latents, h1, h2, grad, weights, ctx.dtype, ctx.backend
        )
        return by_t0.to(ctx.t0_dtype), None, None, None, *by_weights


library.define(
    "fastsep::latent_rollout",
    "(Tensor t0, Tensor[] weights, SymInt steps, ScalarType dtype, str backend, bool keep) -> (Tensor, Tensor, Tensor)",
)
library.define(
    "fastsep::latent_rollout_backward",
    "(Tensor latents, Tensor h1, Tensor h2, Tensor grad, Tensor[] weights, ScalarType dtype, str backend) -> Tensor[]",
)


@library.impl("fastsep::latent_rollout", ("cpu", "cuda"))
def _forward(
    t0: Tensor, weights: list[Tensor], steps: int, dtype: torch.dtype, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (S + 1, B, L), and with ``keep`` the hidden activations (R, N·B, H), else two empty tensors."""
    with torch.autocast(t0.device.type, enabled=False), torch.no_grad():
        blocks = reference.stack_blocks(weights, dtype)
        config = _configuration(t0, blocks, backend, adjoint=False)
        h1, h2 = reference.empty_hidden(t0, blocks, steps if keep else 1)
        if config is None:
            return reference.trajectory(t0, blocks, steps, (h1, h2) if keep else None), h1, h2
        latents = _launch().forward(t0, blocks, steps, config)
        if keep:
            h1, h2 = reference.hidden_states(latents, blocks)[1:]
        return latents, h1, h2


@library.impl("fastsep::latent_rollout_backward", ("cpu", "cuda"))
def _backward(
    latents: Tensor, h1: Tensor, h2: Tensor, grad: Tensor, weights: list[Tensor], dtype: torch.dtype, backend: str
) -> list[Tensor]:
    with torch.autocast(grad.device.type, enabled=False), torch.no_grad():
        blocks = reference.stack_blocks(weights, dtype)
        config = _configuration(latents[0], blocks, backend, adjoint=True)
        kept = (h1, h2) if h1.numel() else None
        by_t0, *by_weights = gradients(latents, grad.to(latents.dtype), blocks, config, kept)
        # A custom op's results may alias neither each other nor its inputs.
        return [by_t0.clone(), *(g.to(w.dtype, copy=True) for g, w in zip(by_weights, weights, strict=True))]


def gradients(
    latents: Tensor,
    grad: Tensor,
    blocks: Blocks,
    config: Streaming | Stationary | None,
    kept: tuple[Tensor, Tensor] | None = None,
) -> list[Tensor]:
    """As :func:`kernels.latent_rollout.reference.adjoint`, the recursion by a kernel unless ``config`` is None."""
    if config is None:
        return reference.adjoint(latents, grad, blocks, kept)
    hidden = reference.hidden_states(latents, blocks, kept)
    adjoints = _launch().recursion(grad, hidden, blocks, config)
    dz1, dz2 = reference.hidden_adjoints(adjoints, hidden, blocks)
    return [adjoints[0], *reference.weight_gradients(adjoints, hidden, dz1, dz2)]


def _launch():
    """Triton is imported where a kernel is wanted: a CPU install has none."""
    from kernels.latent_rollout import launch

    return launch


def _configuration(state: Tensor, blocks: Blocks, backend: str, adjoint: bool) -> Streaming | Stationary | None:
    """The kernel to launch, or None for plain products."""
    if backend == "adjoint" or (backend == "auto" and state.device.type == "cpu"):
        return None
    try:
        launch = _launch()
    except ImportError as error:
        if backend == "auto":
            return None
        raise ValueError(f"backend {backend!r} needs Triton: install it, or ask for 'adjoint'") from error
    if state.device.type == "cpu" and not launch.INTERPRETED:
        raise ValueError(f"backend {backend!r} needs a GPU, or TRITON_INTERPRET=1 set before the program starts")
    kind = backend
    if backend == "triton":  # any kernel, even where plain products are faster
        kind = "streaming" if blocks.w1.dtype == torch.float32 else "auto"
    config = choose(launch.describe(state, blocks, adjoint), kind)
    if config is None and backend != "auto":
        raise ValueError(
            f"no kernel takes L={blocks.w1.shape[2]}, H={blocks.w1.shape[1]}, {blocks.w1.shape[0]} blocks, "
            f"{blocks.w1.dtype}: ask for backend 'adjoint'"
        )
    return config


@library.register_fake("fastsep::latent_rollout")
def _(
    t0: Tensor, weights: list[Tensor], steps: int, dtype: torch.dtype, backend: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    count, width = len(weights) // TENSORS_PER_BLOCK, weights[0].shape[0]
    latents = t0.new_empty(((steps - 1) * count + 1, *t0.shape), dtype=state_dtype(dtype))
    rows = (steps - 1) * t0.shape[0] if keep else 0
    hidden = (t0.new_empty((count, rows, width), dtype=dtype) for _ in range(2))
    return latents, *hidden


@library.register_fake("fastsep::latent_rollout_backward")
def _(
    latents: Tensor, h1: Tensor, h2: Tensor, grad: Tensor, weights: list[Tensor], dtype: torch.dtype, backend: str
) -> list[Tensor]:
    by_weights = (torch.empty(w.shape, dtype=w.dtype, device=w.device) for w in weights)
    return [latents.new_empty(latents.shape[1:]), *by_weights]
