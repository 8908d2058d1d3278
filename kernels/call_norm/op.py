"""The public function: checks, choice of backend, autograd. Letters as in reference.py."""

from __future__ import annotations

import os

import torch
from torch import Tensor, library

from kernels.call_norm.reference import call_norm_reference

BACKENDS = ("auto", "reference", "triton")

_KERNELS = os.environ.get("FASTSEP_KERNELS", "auto") != "torch"


def call_norm(
    x: Tensor, weight: Tensor, bias: Tensor, calls: int, *, eps: float = 1e-5, slope: float = 1.0, backend: str = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm of K network calls at once, each with its own statistics, then LeakyReLU.

    Args:
        x: (K*B, C, H, W), calls outermost, any float type; differentiable. Channels last is the fast layout.
        weight: (C,) float32 (float64 with a float64 ``x``); differentiable.
        bias: like ``weight``.
        calls: K, a divisor of the number of images.
        slope: of the activation below zero; 1 is none, 0 is ReLU.
        backend: ``auto`` (Triton on a GPU where it is installed), ``reference`` (plain PyTorch) or ``triton``.
            ``FASTSEP_KERNELS=torch``, read at import, makes ``auto`` mean ``reference``.

    Returns:
        y (K*B, C, H, W) in the type of ``x``; per call and channel mean and biased variance (K, C), in the type of
        ``weight``, not differentiable.

    Raises:
        ValueError: shapes, types or backend that do not fit.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if x.dim() != 4 or calls < 1 or x.shape[0] % calls:
        raise ValueError(f"x has shape {tuple(x.shape)}: (calls * batch, C, H, W) with {calls} calls is needed")
    wanted = torch.float64 if x.dtype == torch.float64 else torch.float32
    for tensor in (weight, bias):
        if tensor.shape != (x.shape[1],) or tensor.dtype != wanted:
            raise ValueError(f"weight and bias must be {wanted} of shape ({x.shape[1]},)")
    if backend == "triton" or (backend == "auto" and x.device.type == "cuda" and _KERNELS and _has_triton()):
        return _CallNorm.apply(x, weight, bias, calls, eps, slope)
    return call_norm_reference(x, weight, bias, calls, eps, slope)


class _CallNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, calls: int, eps: float, slope: float):
        x = x.contiguous(memory_format=torch.channels_last)
        y, mean, var = torch.ops.fastsep.call_norm(x, weight, bias, calls, eps, slope)
        ctx.save_for_backward(x, y, mean, var, weight)
        ctx.settings = calls, eps, slope
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    def backward(ctx, grad: Tensor, _mean, _var):
        x, y, mean, var, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grads = torch.ops.fastsep.call_norm_backward(grad, x, y, mean, var, weight, *ctx.settings)
        return *grads, None, None, None


def _has_triton() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def _launch(x: Tensor):
    """Triton is imported where a kernel is wanted: a CPU install has none."""
    from kernels.call_norm import launch

    if x.device.type == "cpu" and not launch.INTERPRETED:
        raise ValueError("backend 'triton' needs a GPU, or TRITON_INTERPRET=1 set before the program starts")
    return launch


library.define(
    "fastsep::call_norm",
    "(Tensor x, Tensor weight, Tensor bias, int calls, float eps, float slope) -> (Tensor, Tensor, Tensor)",
)
library.define(
    "fastsep::call_norm_backward",
    "(Tensor grad, Tensor x, Tensor y, Tensor mean, Tensor var, Tensor weight, int calls, float eps, float slope)"
    " -> (Tensor, Tensor, Tensor)",
)


@library.impl("fastsep::call_norm", ("cpu", "cuda"))
def _forward(x: Tensor, weight: Tensor, bias: Tensor, calls: int, eps: float, slope: float):
    return _launch(x).forward(x, weight, bias, calls, eps, slope)


@library.impl("fastsep::call_norm_backward", ("cpu", "cuda"))
def _backward(
    grad: Tensor, x: Tensor, y: Tensor, mean: Tensor, var: Tensor, weight: Tensor, calls: int, eps: float, slope: float
):
    return _launch(x).backward(grad, x, y, mean, var, weight, calls, eps, slope)


@library.register_fake("fastsep::call_norm")
def _(x: Tensor, weight: Tensor, bias: Tensor, calls: int, eps: float, slope: float):
    return torch.empty_like(x), weight.new_empty(calls, x.shape[1]), weight.new_empty(calls, x.shape[1])


@library.register_fake("fastsep::call_norm_backward")
def _(
    grad: Tensor, x: Tensor, y: Tensor, mean: Tensor, var: Tensor, weight: Tensor, calls: int, eps: float, slope: float
):
    return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
