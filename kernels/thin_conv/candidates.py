"""The ways to run a layer, as candidates to choose among. Letters as in reference.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.call_norm import call_norm
from kernels.choose import Task
from kernels.thin_conv import cuts

CUTS = {
    ("thin_entry", "forward"): cuts.ENTRY,
    ("thin_entry", "backward"): cuts.ENTRY_WEIGHTS,
    ("thin_exit", "forward"): cuts.EXIT,
    ("thin_exit", "backward"): cuts.EXIT_GRADIENTS,
}


def ways(op: str, direction: str, *layer: int) -> list[str]:
    """Names of the ways for a ``layer`` (see ``cuts.suits``), the library's own first."""
    fitting = [name for name, cut in CUTS[op, direction].items() if cuts.suits(cut, *layer)]
    return ["library", "padded", *(f"triton {name}" for name in fitting)]


def make_entry_task(
    direction: str, device: torch.device, n: int, c: int, h: int, w: int, f: int, k: int, stride: int, padding: int,
    slope: float, bias: bool, dtype: torch.dtype,
) -> Task:  # fmt: skip
    """Frames and weights of the case; the outputs, or with ``backward`` the derivatives by weight and bias.

    Frames come rounded, as from a compiler, here and as the gradient of an exit.
    """
    random = _source(device)
    x, weight = random(n, c, h, w).to(dtype), random(f, c, k, k, scale=(c * k * k) ** -0.5)
    shift = random(f) if bias else None
    settings = stride, padding, slope
    run, run_backward = torch.ops.fastsep.thin_entry, torch.ops.fastsep.thin_entry_backward
    # Operands as the products see them, so that the exact result leaves only the candidates' own errors.
    exact = x.float(), weight.to(dtype).float()
    if direction == "forward":
        calls = {
            way: lambda way=way: [run(x, None, weight, shift, *settings, dtype, way)]
            for way in ways("thin_entry", direction, f, architecture(device), c)
        }
        return Task(calls, lambda: [run(exact[0], None, exact[1], shift, *settings, torch.float32, "library")])
    y = run(x, None, weight, shift, *settings, dtype, "library")
    grad = random(*y.shape).to(dtype).contiguous(memory_format=torch.channels_last)
    calls = {
        way: lambda way=way: run_backward(grad, x, None, y, weight, *settings, bias, way)
        for way in ways("thin_entry", direction, f, architecture(device), c)
    }
    wide = grad.float(), exact[0], None, y.float(), exact[1]
    return Task(calls, lambda: run_backward(*wide, *settings, bias, "library"))


def make_exit_task(
    direction: str, device: torch.device, n: int, c: int, h: int, w: int, f: int, transposed: bool, stride: int,
    bias: bool, dtype: torch.dtype,
) -> Task:  # fmt: skip
    """A map and weights of the case; the frames, or with ``backward`` the derivatives by map, weight and bias."""
    random = _source(device)
    side = 4 if stride == 2 else 3
    x = random(n, c, h, w).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = random(*((c, f) if transposed else (f, c)), side, side, scale=(9 * c) ** -0.5)
    shift = random(f) if bias else None
    settings = transposed, stride
    run, run_backward = torch.ops.fastsep.thin_exit, torch.ops.fastsep.thin_exit_backward
    exact = x.float(), weight.to(dtype).float()
    if direction == "forward":
        calls = {
            way: lambda way=way: [run(x, weight, shift, *settings, way)]
            for way in ways("thin_exit", direction, f, architecture(device))
        }
        return Task(calls, lambda: [run(*exact, shift, *settings, "library")])
    y = run(x, weight, shift, *settings, "library")
    grad = random(*y.shape).to(dtype)
    calls = {
        way: lambda way=way: run_backward(grad, x, weight, *settings, way)
        for way in ways("thin_exit", direction, f, architecture(device))
    }
    return Task(calls, lambda: run_backward(grad.float(), exact[0], exact[1], *settings, "library"))


def make_norm_exit_task(
    direction: str, device: torch.device, n: int, c: int, h: int, w: int, f: int, calls: int, transposed: bool,
    stride: int, slope: float, bias: bool, dtype: torch.dtype,
) -> Task:  # fmt: skip
    """Frames and all derivatives of a norm and the exit behind it: one after the other, or as one."""
    from kernels.thin_conv import joined, op  # which register this function

    random = _source(device)
    side = 4 if stride == 2 else 3
    x = random(n, c, h, w).add_(0.5).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = random(*((c, f) if transposed else (f, c)), side, side, scale=(9 * c) ** -0.5)
    state = [random(c).add_(1.0), random(c), random(c), random(c).square_()]
    shift = random(f) if bias else None
    grad = random(n, f, stride * h, stride * w)
    kept, convolution = (calls, 0.1, 1e-5, slope), (transposed, stride)

    def run(way: str, exact: bool = False) -> list[Tensor]:
        leaves = [t.detach().requires_grad_() for t in (x.float() if exact else x, *state[:2], weight)]
        low = weight if not exact else weight.to(dtype).float()
        leaves[3] = low.detach().requires_grad_()
        inner, running = leaves[:3], state[2:]
        if way.startswith("together"):
            y = joined._NormExit.apply(*inner, *running, None, leaves[3], shift, *kept, *convolution, way)
        else:
            z = call_norm(*inner, *running, calls, slope=slope)
            y = op._Exit.apply(z, leaves[3], shift, *convolution, *joined.split_way(way))
        return [y.detach(), *torch.autograd.grad(y, leaves, grad)]

    calls_of = {way: lambda way=way: run(way) for way in norm_exit_ways(f, architecture(device))}
    return Task(calls_of, lambda: run("apart library", exact=True))


def norm_exit_ways(*layer: int) -> list[str]:
    """Apart, with the exit in some of its ways; as one, with all pairs of cuts."""
    forward, apart, together = (
        [name for name, cut in table.items() if cuts.suits(cut, *layer)]
        for table in (cuts.EXIT, cuts.EXIT_GRADIENTS, cuts.NORM_EXIT_GRADIENTS)
    )
    if not (forward and apart):  # more output channels than a kernel has registers for
        return ["apart library", "apart padded"]
    pairs = [f"together {one} / {other}" for one in forward for other in together]
    return ["apart library", "apart padded", f"apart triton {forward[0]} / triton {apart[0]}", *pairs]


def architecture(device: torch.device) -> int:
    """Ten times the compute capability; 80 where there is no GPU."""
    major, minor = torch.cuda.get_device_capability(device) if device.type == "cuda" else (8, 0)
    return 10 * major + minor


def _source(device: torch.device) -> Callable[..., Tensor]:
    generator = torch.Generator(device).manual_seed(0)

    def random(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator, device=device).mul_(scale)

    return random
