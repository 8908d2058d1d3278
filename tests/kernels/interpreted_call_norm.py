"""Run by test_call_norm.py in a process of its own: the Triton kernels under the interpreter against the definition."""

from __future__ import annotations

import torch
from meeting import check_shared_norm
from torch import library
from torch._dynamo.backends.common import aot_autograd

from kernels.call_norm import call_norm, launch, opaque

# calls, batch, channels, height, width: odd sizes, one channel, more than one block of channels, several chunks
SHAPES = [(1, 1, 3, 2, 2), (3, 5, 7, 3, 1), (2, 2, 1, 5, 7), (2, 3, 130, 2, 3), (16, 1, 20, 5, 7), (2, 2, 48, 8, 9)]


def check(shape: tuple[int, ...], dtype: torch.dtype, slope: float, mean: float = 3.0, has_bias: bool = True) -> None:
    calls, batch, channels, height, width = shape
    torch.manual_seed(0)
    exact = torch.randn(calls * batch, channels, height, width, dtype=torch.float64) * 2 + mean
    exact = exact.to(dtype).double()
    weight, running_var = (torch.rand(channels, dtype=torch.float64) + 0.5 for _ in range(2))
    bias, running_mean, conv_bias = (torch.randn(channels, dtype=torch.float64) for _ in range(3))
    target = torch.randn(exact.shape, dtype=torch.float64)

    def run(dtype: torch.dtype, backend: str) -> list[torch.Tensor]:
        state = torch.float64 if dtype == torch.float64 else torch.float32
        x, w, b = (t.to(kind).requires_grad_() for t, kind in ((exact, dtype), (weight, state), (bias, state)))
        running = [t.to(state, copy=True) for t in (running_mean, running_var)]
        settings = {"momentum": 0.3, "slope": slope, "conv_bias": conv_bias.to(state) if has_bias else None}
        y = call_norm(x, w, b, *running, calls, backend=backend, **settings)
        grads = torch.autograd.grad((y.double() * target).sum(), (x, w, b))
        assert y.dtype == grads[0].dtype == dtype and running[0].dtype == state
        return [y, *running, *grads]

    wanted, plain, found = run(torch.float64, "call by call"), run(dtype, "grouped"), run(dtype, "triton")
    for ours, theirs, truth in zip(found, plain, wanted, strict=True):
        error, allowed = (ours.double() - truth).norm(), (theirs.double() - truth).norm()
        floor = {torch.float64: 1e-13, torch.float32: 2e-6}.get(dtype, 1e-3)
        assert error <= 2 * allowed + floor * truth.norm() + floor * 1e-3, (error, allowed, ours.shape, dtype)


def check_op() -> None:
    """The op's schema, fake and aliasing are right, and it traces as part of one graph that moves the buffers."""
    x = torch.randn(6, 4, 3, 2).contiguous(memory_format=torch.channels_last)
    weight, bias, conv_bias = torch.rand(4) + 0.5, torch.randn(4), torch.randn(4)
    state = torch.zeros(4), torch.ones(4)
    for last in (conv_bias, None):
        library.opcheck(torch.ops.fastsep.call_norm, (x, weight, bias, *state, last, 3, 0.1, 1e-5, 0.2))
    _, stats = torch.ops.fastsep.call_norm(x, weight, bias, *state, None, 3, 0.1, 1e-5, 0.2)
    library.opcheck(torch.ops.fastsep.call_norm_backward, (torch.randn_like(x), x, stats, 3, 1e-5, 0.2))

    results = []
    for compiled in (False, True):
        running = torch.zeros(4), torch.ones(4)
        inputs = [x.clone().requires_grad_(), weight.clone().requires_grad_()]

        def loss(x: torch.Tensor, weight: torch.Tensor, running: tuple[torch.Tensor, ...] = running) -> torch.Tensor:
            y = call_norm(x, weight, bias, *running, 3, slope=0.2, conv_bias=conv_bias, backend="triton")
            return y.square().sum()

        function = torch.compile(loss, backend="aot_eager", fullgraph=True) if compiled else loss
        results.append([*torch.autograd.grad(function(*inputs), inputs), *running])
    assert not torch.equal(running[0], torch.zeros(4))
    torch.testing.assert_close(*results)


def check_pieces() -> None:
    """The same of the ops that processes with shared images run before and after they exchange their sums."""
    x = torch.randn(6, 4, 3, 2).contiguous(memory_format=torch.channels_last)
    weight, bias, state = torch.rand(4) + 0.5, torch.randn(4), (torch.zeros(4), torch.ones(4))
    pieces = opaque.PIECES
    library.opcheck(pieces.statistics, (x, weight, bias, 3, 1e-5))
    stats, grad = pieces.statistics(x, weight, bias, 3, 1e-5), torch.randn_like(x)
    for last in (bias, None):
        library.opcheck(pieces.normalise, (x, stats, *state, last, 3, 2, 0.1, 0.2))
    library.opcheck(pieces.sums, (grad, x, stats, 3, 0.2))
    library.opcheck(pieces.derivatives, (grad, x, stats, pieces.sums(grad, x, stats, 3, 0.2), 3, 2, 1e-5, 0.2))

    graphs, results = [], []

    def keep(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    for compiled in (False, True):
        running, inputs = (torch.zeros(4), torch.ones(4)), [x.clone().requires_grad_(), weight.clone().requires_grad_()]

        def loss(x: torch.Tensor, weight: torch.Tensor, running: tuple[torch.Tensor, ...] = running) -> torch.Tensor:
            settings = {"gather": lambda value: torch.stack([value, 2 * value]), "backend": "triton"}
            return call_norm(x, weight, bias, *running, 3, slope=0.2, **settings).square().sum()

        function = torch.compile(loss, backend=aot_autograd(fw_compiler=keep), fullgraph=True) if compiled else loss
        results.append([*torch.autograd.grad(function(*inputs), inputs), *running])
    assert not torch.equal(running[0], torch.zeros(4))
    torch.testing.assert_close(*results)
    found = " ".join(f"{node.target} {node.args}" for graph in graphs for node in graph.graph.nodes)
    for piece in ("statistics", "normalise", "sums", "derivatives"):
        assert f"fastsep.call_norm_{piece}" in found, found


def main() -> None:
    launch.TILE, launch.PROGRAMS_PER_SM = 2048, 64  # several chunks and tiles a call on small data
    check_op()
    check_pieces()
    for shape in SHAPES:
        # No bfloat16: the interpreter truncates where GPUs round to nearest.
        check(shape, torch.float32, slope=0.2)
    for dtype in (torch.float64, torch.float16):
        check(SHAPES[-1], dtype, slope=0.2)
    check(SHAPES[-1], torch.float32, slope=0.2, mean=300.0)
    check(SHAPES[1], torch.float32, slope=0.0)
    check(SHAPES[1], torch.float32, slope=1.0, has_bias=False)
    check_shared_norm((2, 4, 48, 8, 9), 2, 0.2, "triton")
    check_shared_norm((3, 3, 1, 2, 3), 3, 1.0, "triton")


if __name__ == "__main__":
    main()
