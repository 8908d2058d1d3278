"""The public function: checks, choice of backend, autograd. Letters as in reference.py."""

from __future__ import annotations

import torch
from torch import Tensor

import kernels
from kernels.call_norm import opaque
from kernels.call_norm.native import NativeCallNorm
from kernels.call_norm.reference import call_by_call, grouped
from kernels.call_norm.shared import PLAIN, Gather, SharedCallNorm

BACKENDS = ("auto", "native", "call by call", "grouped", "triton")

_KERNELS = kernels.setting() != "torch"


def call_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    calls: int,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    slope: float = 1.0,
    conv_bias: Tensor | None = None,
    gather: Gather | None = None,
    backend: str = "auto",
) -> Tensor:
    """Batch norm of K network calls at once, each with its own statistics, then LeakyReLU.

    The running statistics move, in place, as if the calls came in order, by the mean and the unbiased variance of each.

    Args:
        x: (K*B, C, H, W), calls outermost, any float type; differentiable. Channels last is the fast layout.
        weight: (C,) float32 (float64 with a float64 ``x``); differentiable.
        bias: like ``weight``.
        running_mean: like ``weight``, not differentiable.
        running_var: like ``running_mean``.
        calls: K, a divisor of the number of images.
        momentum: share of a new call in the running statistics, in [0, 1).
        slope: of the activation below zero; 1 is none, 0 is ReLU.
        conv_bias: like ``running_mean``: what the convolution in front left out. The norm takes any constant away
            again, so ``y`` and all derivatives are the same without it; only the running mean must have it.
        gather: where several processes hold the images of each call, equally many: what collects a tensor of all of
            them, (...) -> (R, ...). Statistics are then those of all images; all backends but ``triton`` are one.
        backend: ``auto`` (``triton`` on a GPU where it is installed, ``native`` on a CPU, ``grouped`` elsewhere),
            ``call by call`` or ``grouped`` (plain PyTorch), ``native`` (the former in place; a compiler gets the
            former) or ``triton``. ``FASTSEP_KERNELS=torch``, read at import, keeps ``auto`` off ``triton``.

    Returns:
        (K*B, C, H, W) in the type of ``x``.

    Raises:
        ValueError: shapes, types, momentum or backend that do not fit, or a single value a call and channel.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if x.dim() != 4 or calls < 1 or x.shape[0] % calls:
        raise ValueError(f"x has shape {tuple(x.shape)}: (calls * batch, C, H, W) with {calls} calls is needed")
    if gather is None and x.shape[0] // calls * x.shape[2] * x.shape[3] < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}: more than one value a channel and call is needed")
    wanted = torch.float64 if x.dtype == torch.float64 else torch.float32
    for tensor in (weight, bias, running_mean, running_var, *([] if conv_bias is None else [conv_bias])):
        if tensor.shape != (x.shape[1],) or tensor.dtype != wanted:
            raise ValueError(f"weight, biases and running statistics must be {wanted} of shape ({x.shape[1]},)")
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum is {momentum}: it must lie in [0, 1)")
    conv_bias = None if conv_bias is None else conv_bias.detach()
    arguments = x, weight, bias, running_mean, running_var, conv_bias, calls, momentum, eps, slope
    if backend == "auto":
        on_gpu = x.device.type == "cuda"
        plain = "native" if x.device.type == "cpu" else "grouped"
        # the kernels count within a call in 32 bits
        kernels_can = on_gpu and x.numel() // calls < 2**31
        backend = "triton" if kernels_can and _KERNELS and kernels.has_triton() else plain
    if gather is not None:
        return SharedCallNorm.apply(*arguments, gather, opaque.PIECES if backend == "triton" else PLAIN)
    if backend == "triton":
        return _CallNorm.apply(*arguments)
    if backend == "native" and not torch.compiler.is_compiling():
        return NativeCallNorm.apply(*arguments)
    return (grouped if backend == "grouped" else call_by_call)(*arguments)


class _CallNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, *rest) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y, stats = opaque.forward(x, weight, bias, *rest)
        ctx.save_for_backward(x, stats)
        calls, _, eps, slope = rest[3:]
        ctx.settings = calls, eps, slope
        return y

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, stats = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grads = opaque.backward(grad, x, stats, *ctx.settings)
        return *grads, *[None] * 7
