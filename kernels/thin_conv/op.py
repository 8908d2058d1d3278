"""The public functions: which way suits a layer here, autograd. Letters as in reference.py."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, library

import kernels
from kernels.choose import chosen, register
from kernels.gpu import require_gpu
from kernels.thin_conv import library as plain
from kernels.thin_conv.candidates import make_entry_task, make_exit_task
from kernels.thin_conv.cuts import padded_shape
from kernels.thin_conv.reference import entry_reference, exit_reference

_KERNELS = kernels.setting() != "torch"
_LOW = (torch.bfloat16, torch.float16)

register("thin_entry", make_entry_task)
register("thin_exit", make_exit_task)


def thin_entry(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0, slope: float = 1.0
) -> Tensor:
    """A convolution of frames, then LeakyReLU.

    On a GPU in a half type it runs in the way that was chosen there (see ``kernels.choose``), else as PyTorch does it.

    Args:
        x: (N, C, H, W) frames, any float type and layout; differentiable at the library's speed only.
        weight: (F, C, k, k); differentiable.
        bias: (F,) or none; differentiable.
        slope: of the activation below zero; 1 is none.

    Returns:
        (N, F, H', W') in the type of autocast where it is on, else of ``x``.
    """
    dtype = gpu_dtype(x)
    if dtype in _LOW and x.dtype != torch.float64 and not x.requires_grad:
        n, c, h, w = x.shape
        facts = {"n": n, "c": c, "h": h, "w": w, "f": weight.shape[0], "k": weight.shape[2], "stride": stride}
        facts |= {"padding": padding, "slope": slope, "bias": bias is not None, "dtype": dtype}
        ways = [chosen("thin_entry", direction, **facts) for direction in ("forward", "backward")]
        if any(way not in (None, "library") for way in ways):
            x = round_in_passing(x, dtype)
            return _Entry.apply(x, weight, bias, stride, padding, slope, dtype, *(way or "library" for way in ways))
    return entry_reference(x, weight, bias, stride, padding, slope)


def thin_exit(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, transposed: bool = False, stride: int = 1
) -> Tensor:
    """A convolution to frames: 3x3, or transposed 3x3 with stride 1 or 4x4 with stride 2; padding 1.

    On a GPU in a half type it runs in the way that was chosen there (see ``kernels.choose``), else as PyTorch does it.

    Args:
        x: (N, C, H, W), channels last; differentiable.
        weight: (F, C, 3, 3), or (C, F, k, k) if ``transposed``; differentiable.
        bias: (F,) or none; differentiable.

    Returns:
        (N, F, s H, s W), float32 (float64 for float64).
    """
    dtype = gpu_dtype(x)
    if dtype in _LOW and x.dtype != torch.float64:  # which autocast leaves alone
        n, c, h, w = x.shape
        facts = {"n": n, "c": c, "h": h, "w": w, "f": weight.shape[1 if transposed else 0], "transposed": transposed}
        facts |= {"stride": stride, "bias": bias is not None, "dtype": dtype}
        ways = [chosen("thin_exit", direction, **facts) or "library" for direction in ("forward", "backward")]
        return exit_in(ways, x.to(dtype), weight, bias, transposed, stride)
    return exit_reference(x, weight, bias, transposed, stride)


def exit_in(
    ways: Sequence[str], x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, stride: int
) -> Tensor:
    """``thin_exit`` in the ways given for both directions."""
    if set(ways) == {"library"}:
        return exit_reference(x, weight, bias, transposed, stride)
    return _Exit.apply(x.contiguous(memory_format=torch.channels_last), weight, bias, transposed, stride, *ways)


class _Entry(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, stride: int, padding: int, slope: float, dtype, forward: str, backward: str):
        padded = None
        if forward.startswith("triton") and backward.startswith("triton"):
            padded = torch.ops.fastsep.pad_frames(x, padding, dtype)  # for both
        y = torch.ops.fastsep.thin_entry(x, padded, weight, bias, stride, padding, slope, dtype, forward)
        ctx.save_for_backward(x if padded is None else None, padded, y, weight)
        ctx.has_bias = bias is not None
        ctx.settings = stride, padding, slope, ctx.has_bias, backward
        return y

    @staticmethod
    def backward(ctx, grad: Tensor):
        grad = grad.contiguous(memory_format=torch.channels_last)
        by_weight, by_bias = torch.ops.fastsep.thin_entry_backward(grad, *ctx.saved_tensors, *ctx.settings)
        return None, by_weight, by_bias if ctx.has_bias else None, *[None] * 6


class _Exit(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, transposed: bool, stride: int, forward: str, backward: str):
        y = torch.ops.fastsep.thin_exit(x, weight, bias, transposed, stride, forward)
        ctx.save_for_backward(x, weight)
        ctx.settings = transposed, stride, backward
        ctx.has_bias = bias is not None
        return y

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        grad = round_in_passing(grad, x.dtype).contiguous()
        grads = torch.ops.fastsep.thin_exit_backward(grad, x, weight, *ctx.settings)
        by_x, by_weight, by_bias = grads
        return by_x, by_weight, by_bias if ctx.has_bias else None, *[None] * 4


def gpu_dtype(x: Tensor) -> torch.dtype | None:
    """The type in which a GPU would compute; ``None`` where there are no ways to choose from."""
    if x.device.type != "cuda" or not _KERNELS:
        return None
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype


def round_in_passing(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in the type that products take where a compiler does that as it makes ``x``; elsewhere they round it."""
    return x.to(dtype) if torch.compiler.is_compiling() else x


def triton_launch(x: Tensor, exits: bool):
    """Triton is imported where a kernel is wanted: a CPU install has none."""
    from kernels.thin_conv import launch, launch_exit

    require_gpu(x, "the Triton way")
    return launch_exit if exits else launch


library.define("fastsep::pad_frames", "(Tensor x, int padding, ScalarType dtype) -> Tensor")
_ENTRY = "int stride, int padding, float slope"
_EXIT = "bool transposed, int stride, str way"
library.define(
    "fastsep::thin_entry",
    f"(Tensor x, Tensor? padded, Tensor weight, Tensor? bias, {_ENTRY}, ScalarType dtype, str way) -> Tensor",
)
library.define(
    "fastsep::thin_entry_backward",
    f"(Tensor grad, Tensor? x, Tensor? padded, Tensor y, Tensor weight, {_ENTRY}, bool bias, str way)"
    " -> (Tensor, Tensor)",
)
library.define("fastsep::thin_exit", f"(Tensor x, Tensor weight, Tensor? bias, {_EXIT}) -> Tensor")
library.define(
    "fastsep::thin_exit_backward",
    f"(Tensor grad, Tensor x, Tensor weight, {_EXIT}) -> (Tensor, Tensor, Tensor)",
)


def _run(name: str, tensor: Tensor, arguments: tuple, way: str):
    """``way``: ``library``, ``padded``, or ``triton`` and the name of a cut."""
    kind, _, cut = way.partition(" ")
    if kind == "triton":
        return getattr(triton_launch(tensor, name.startswith("exit")), name)(*arguments, cut)
    return getattr(plain, name)(*arguments, kind == "padded")


@library.impl("fastsep::pad_frames", ("cpu", "cuda"))
def _(x, padding, dtype):
    return triton_launch(x, exits=False).pad(x, padding, dtype)


@library.impl("fastsep::thin_entry", ("cpu", "cuda"))
def _(x, padded, weight, bias, stride, padding, slope, dtype, way):
    return _run("entry", weight, (x, padded, weight, bias, stride, padding, slope, dtype), way)


@library.impl("fastsep::thin_entry_backward", ("cpu", "cuda"))
def _(grad, x, padded, y, weight, stride, padding, slope, bias, way):
    return _run("entry_gradients", weight, (grad, x, padded, y, weight, stride, padding, slope, bias), way)


@library.impl("fastsep::thin_exit", ("cpu", "cuda"))
def _(x, weight, bias, transposed, stride, way):
    return _run("exit_", x, (x, weight, bias, transposed, stride), way)


@library.impl("fastsep::thin_exit_backward", ("cpu", "cuda"))
def _(grad, x, weight, transposed, stride, way):
    return _run("exit_gradients", x, (grad, x, weight, transposed, stride), way)


@library.register_fake("fastsep::pad_frames")
def _(x, padding, dtype):
    n, c, h, w = x.shape
    return torch.empty(padded_shape(n, c, h, w, padding), dtype=dtype, device=x.device)


@library.register_fake("fastsep::thin_entry")
def _(x, padded, weight, bias, stride, padding, slope, dtype, way):
    height, width = ((size + 2 * padding - weight.shape[2]) // stride + 1 for size in x.shape[2:])
    shape = x.shape[0], weight.shape[0], height, width
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)


@library.register_fake("fastsep::thin_entry_backward")
def _(grad, x, padded, y, weight, stride, padding, slope, bias, way):
    return torch.empty_like(weight), weight.new_empty(weight.shape[0] if bias else 0)


@library.register_fake("fastsep::thin_exit")
def _(x, weight, bias, transposed, stride, way):
    n, _, h, w = x.shape
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return x.new_empty(n, weight.shape[1 if transposed else 0], stride * h, stride * w, dtype=dtype)


@library.register_fake("fastsep::thin_exit_backward")
def _(grad, x, weight, transposed, stride, way):
    return torch.empty_like(x), torch.empty_like(weight), weight.new_empty(weight.shape[1 if transposed else 0])
