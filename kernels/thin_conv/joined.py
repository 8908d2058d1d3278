"""A batch norm per call with LeakyReLU and the exit behind it, which can run as one. Letters as in exit.py.

The norm's map, the largest of a decoder, is then neither written nor read: the exit normalises what it reads, and its
gradient leaves the sums that the norm's own needs.
"""

from __future__ import annotations

import torch
from torch import Tensor, library

from kernels.call_norm import call_norm
from kernels.choose import chosen, register
from kernels.thin_conv.candidates import make_norm_exit_task
from kernels.thin_conv.op import exit_in, gpu_dtype, round_in_passing, triton_launch

register("norm_exit", make_norm_exit_task, call_norm)


def norm_exit(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    calls: int,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    slope: float = 1.0,
    conv_bias: Tensor | None = None,
    transposed: bool = False,
    stride: int = 1,
) -> Tensor:
    """``thin_exit`` of ``call_norm``: arguments, result and errors as there.

    On a GPU in a half type it runs as was chosen there for both together (see ``kernels.choose``): as one, or apart.
    """
    state = x, norm_weight, norm_bias, running_mean, running_var
    dtype, way = gpu_dtype(x), "apart library"
    if dtype == x.dtype and dtype in (torch.bfloat16, torch.float16):
        n, c, h, w = x.shape
        facts = {"n": n, "c": c, "h": h, "w": w, "f": weight.shape[1 if transposed else 0], "calls": calls}
        facts |= {"transposed": transposed, "stride": stride, "slope": slope, "bias": bias is not None, "dtype": dtype}
        way = chosen("norm_exit", "forward+backward", **facts) or way
    if way.startswith("together"):
        conv_bias = None if conv_bias is None else conv_bias.detach()
        settings = calls, momentum, eps, slope, transposed, stride, way
        return _NormExit.apply(*state, conv_bias, weight, bias, *settings)
    rest = {"momentum": momentum, "eps": eps, "slope": slope, "conv_bias": conv_bias}
    return exit_in(split_way(way), call_norm(*state, calls, **rest), weight, bias, transposed, stride)


class _NormExit(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, *rest) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y, stats = torch.ops.fastsep.norm_exit(x, *rest)
        weight, bias, calls, _, *settings = rest[5:]
        ctx.save_for_backward(x, stats, weight)
        ctx.settings = calls, *settings
        ctx.has_bias = bias is not None
        return y

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, *rest = ctx.saved_tensors
        grad = round_in_passing(grad, x.dtype).contiguous()
        grads = torch.ops.fastsep.norm_exit_backward(grad, x, *rest, *ctx.settings)
        by_x, by_norm_weight, by_norm_bias, by_weight, by_bias = grads
        by_bias = by_bias if ctx.has_bias else None
        return by_x, by_norm_weight, by_norm_bias, None, None, None, by_weight, by_bias, *[None] * 7


def split_way(way: str) -> tuple[str, str]:
    """``together FORWARD / BACKWARD`` -> both cuts; ``apart FORWARD / BACKWARD``, ``apart WAY`` -> the exit's ways."""
    forward, _, backward = way.partition(" ")[2].partition(" / ")
    return forward, backward or forward


library.define(
    "fastsep::norm_exit",
    "(Tensor x, Tensor norm_weight, Tensor norm_bias, Tensor(a!) running_mean, Tensor(b!) running_var,"
    " Tensor? conv_bias, Tensor weight, Tensor? bias, int calls, float momentum, float eps, float slope,"
    " bool transposed, int stride, str way) -> (Tensor, Tensor)",
)
library.define(
    "fastsep::norm_exit_backward",
    "(Tensor grad, Tensor x, Tensor stats, Tensor weight, int calls, float eps, float slope, bool transposed,"
    " int stride, str way) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@library.impl("fastsep::norm_exit", ("cpu", "cuda"))
def _(x, *rest):
    return triton_launch(x, exits=True).norm_exit(x, *rest[:-1], split_way(rest[-1])[0])


@library.impl("fastsep::norm_exit_backward", ("cpu", "cuda"))
def _(grad, x, *rest):
    return triton_launch(x, exits=True).norm_exit_gradients(grad, x, *rest[:-1], split_way(rest[-1])[1])


@library.register_fake("fastsep::norm_exit")
def _(x, norm_weight, norm_bias, mean, var, conv_bias, weight, bias, calls, *settings):
    n, c, h, w = x.shape
    transposed, stride, _ = settings[-3:]
    y = x.new_empty(n, weight.shape[1 if transposed else 0], stride * h, stride * w, dtype=torch.float32)
    return y, norm_weight.new_empty(4, calls, c)


@library.register_fake("fastsep::norm_exit_backward")
def _(grad, x, stats, weight, calls, eps, slope, transposed, stride, way):
    by_bias = weight.new_empty(weight.shape[1 if transposed else 0])
    channels = stats.new_empty(x.shape[1]), stats.new_empty(x.shape[1])
    return torch.empty_like(x), *channels, torch.empty_like(weight), by_bias
