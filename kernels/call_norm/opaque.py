"""The ops that the compiler does not look into: the Triton kernels both ways, whole and in pieces.

Letters as in reference.py; ``stats`` as in shared.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, library

from kernels.call_norm.shared import Pieces
from kernels.gpu import require_gpu


def _launch(x: Tensor):
    """Triton is imported where a kernel is wanted: a CPU install has none."""
    from kernels.call_norm import launch

    require_gpu(x, "backend 'triton'")
    return launch


library.define(
    "fastsep::call_norm",
    "(Tensor x, Tensor weight, Tensor bias, Tensor(a!) running_mean, Tensor(b!) running_var, Tensor? conv_bias,"
    " int calls, float momentum, float eps, float slope) -> (Tensor, Tensor)",
)
library.define(
    "fastsep::call_norm_backward",
    "(Tensor grad, Tensor x, Tensor stats, int calls, float eps, float slope) -> (Tensor, Tensor, Tensor)",
)


@library.impl("fastsep::call_norm", ("cpu", "cuda"))
def _forward(x: Tensor, *rest) -> tuple[Tensor, Tensor]:
    return _launch(x).forward(x, *rest)


@library.impl("fastsep::call_norm_backward", ("cpu", "cuda"))
def _backward(grad: Tensor, x: Tensor, stats: Tensor, calls: int, eps: float, slope: float):
    return _launch(x).backward(grad, x, stats, calls, eps, slope)


@library.register_fake("fastsep::call_norm")
def _(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, conv_bias: Tensor | None, calls: int, *rest):
    return torch.empty_like(x), weight.new_empty(4, calls, x.shape[1])


@library.register_fake("fastsep::call_norm_backward")
def _(grad: Tensor, x: Tensor, stats: Tensor, calls: int, eps: float, slope: float):
    return torch.empty_like(x), stats.new_empty(x.shape[1]), stats.new_empty(x.shape[1])


# The pieces of both, for processes that exchange their sums in between.
library.define(
    "fastsep::call_norm_statistics", "(Tensor x, Tensor weight, Tensor bias, int calls, float eps) -> Tensor"
)
library.define(
    "fastsep::call_norm_normalise",
    "(Tensor x, Tensor stats, Tensor(a!) running_mean, Tensor(b!) running_var, Tensor? conv_bias, int calls, int ranks,"
    " float momentum, float slope) -> Tensor",
)
library.define("fastsep::call_norm_sums", "(Tensor grad, Tensor x, Tensor stats, int calls, float slope) -> Tensor")
library.define(
    "fastsep::call_norm_derivatives",
    "(Tensor grad, Tensor x, Tensor stats, Tensor sums, int calls, int ranks, float eps, float slope)"
    " -> (Tensor, Tensor, Tensor)",
)


@library.impl("fastsep::call_norm_statistics", ("cpu", "cuda"))
def _statistics(x: Tensor, *rest) -> Tensor:
    return _launch(x).statistics(x, *rest)


@library.impl("fastsep::call_norm_normalise", ("cpu", "cuda"))
def _normalise(x: Tensor, *rest) -> Tensor:
    return _launch(x).normalise(x, *rest)


@library.impl("fastsep::call_norm_sums", ("cpu", "cuda"))
def _sums(grad: Tensor, x: Tensor, *rest) -> Tensor:
    return _launch(x).partial_sums(grad, x, *rest).sum(2)


@library.impl("fastsep::call_norm_derivatives", ("cpu", "cuda"))
def _derivatives(grad: Tensor, x: Tensor, stats: Tensor, sums: Tensor, *rest) -> tuple[Tensor, Tensor, Tensor]:
    return _launch(x).derivatives(grad, x, stats, sums[:, :, None], *rest)


@library.register_fake("fastsep::call_norm_statistics")
def _(x: Tensor, weight: Tensor, bias: Tensor, calls: int, eps: float):
    return weight.new_empty(4, calls, x.shape[1])


@library.register_fake("fastsep::call_norm_normalise")
def _(x: Tensor, *rest):
    return torch.empty_like(x)


@library.register_fake("fastsep::call_norm_sums")
def _(grad: Tensor, x: Tensor, stats: Tensor, calls: int, slope: float):
    return stats.new_empty(2, calls, x.shape[1])


@library.register_fake("fastsep::call_norm_derivatives")
def _(grad: Tensor, x: Tensor, stats: Tensor, *rest):
    return torch.empty_like(x), stats.new_empty(x.shape[1]), stats.new_empty(x.shape[1])


forward, backward = torch.ops.fastsep.call_norm, torch.ops.fastsep.call_norm_backward
"""The whole of each direction."""
PIECES = Pieces(
    torch.ops.fastsep.call_norm_statistics,
    torch.ops.fastsep.call_norm_normalise,
    torch.ops.fastsep.call_norm_sums,
    torch.ops.fastsep.call_norm_derivatives,
    torch.channels_last,
)
"""The same by Triton kernels."""
