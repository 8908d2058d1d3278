"""Run by test_call_norm.py in a process of its own: the Triton kernels under the interpreter against the definition."""

from __future__ import annotations

import torch
from torch import library

from kernels.call_norm import call_norm, launch
from kernels.call_norm.reference import call_norm_reference

# calls, batch, channels, height, width: odd sizes, one channel, more than one block of channels, several chunks
SHAPES = [(1, 1, 3, 2, 2), (3, 5, 7, 3, 1), (2, 2, 1, 5, 7), (2, 3, 130, 2, 3), (2, 2, 48, 8, 9)]


def check(calls: int, batch: int, channels: int, height: int, width: int, dtype: torch.dtype, slope: float) -> None:
    torch.manual_seed(0)
    exact = (torch.randn(calls * batch, channels, height, width, dtype=torch.float64) * 2 + 3).to(dtype).double()
    weight = torch.rand(channels, dtype=torch.float64) + 0.5
    bias, target = torch.randn(channels, dtype=torch.float64), torch.randn(exact.shape, dtype=torch.float64)
    state = torch.float64 if dtype == torch.float64 else torch.float32

    def run(function, *inputs):
        inputs = [t.detach().requires_grad_() for t in inputs]
        y, mean, var = function(*inputs)
        grads = torch.autograd.grad((y.double() * target).sum(), inputs)
        return y, mean, var, *grads

    def triton(x, w, b):
        return call_norm(x, w, b, calls, slope=slope, backend="triton")

    def definition(x, w, b):
        return call_norm_reference(x, w, b, calls, 1e-5, slope)

    wanted = run(definition, exact, weight, bias)
    low = exact.to(dtype), weight.to(state), bias.to(state)
    found, plain = run(triton, *low), run(definition, *low)
    assert found[0].dtype == found[3].dtype == dtype and found[1].dtype == state
    for ours, theirs, truth in zip(found, plain, wanted, strict=True):
        error, allowed = (ours.double() - truth).norm(), (theirs.double() - truth).norm()
        floor = {torch.float64: 1e-13, torch.float32: 2e-6}.get(dtype, 1e-3)
        assert error <= 2 * allowed + floor * truth.norm() + floor * 1e-3, (error, allowed, ours.shape, dtype)


def check_op() -> None:
    """The op's schema, fake and aliasing are right, and it traces as part of one graph."""
    x = torch.randn(6, 4, 3, 2).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.rand(4) + 0.5, torch.randn(4)
    arguments = (x, weight, bias, 3, 1e-5, 0.2)
    library.opcheck(torch.ops.fastsep.call_norm, arguments)
    y, mean, var = torch.ops.fastsep.call_norm(*arguments)
    library.opcheck(torch.ops.fastsep.call_norm_backward, (torch.randn_like(x), x, y, mean, var, weight, 3, 1e-5, 0.2))

    def loss(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return call_norm(x, weight, bias, 3, slope=0.2, backend="triton")[0].square().sum()

    results = []
    for function in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        inputs = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        results.append(torch.autograd.grad(function(*inputs), inputs))
    torch.testing.assert_close(*results)


def main() -> None:
    check_op()
    launch.TILE, launch.PROGRAMS = 2048, 64  # several chunks and tiles a call on small data
    for shape in SHAPES:
        # No bfloat16: the interpreter truncates where GPUs round to nearest.
        check(*shape, torch.float32, slope=0.2)
    for dtype in (torch.float64, torch.float16):
        check(*SHAPES[-1], dtype, slope=0.2)
    for slope in (0.0, 1.0):
        check(*SHAPES[1], torch.float32, slope)


if __name__ == "__main__":
    main()
