"""The ways to run a layer, as candidates to choose among. Letters as in reference.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.choose import Task
from kernels.thin_conv import cuts

CUTS = {
    ("thin_entry", "forward"): cuts.ENTRY,
    ("thin_entry", "backward"): cuts.ENTRY_WEIGHTS,
    ("thin_exit", "forward"): cuts.EXIT,
    ("thin_exit", "backward"): cuts.EXIT_GRADIENTS,
}


def ways(op: str, direction: str, features: int, width: int) -> list[str]:
    """Names of the ways for ``features`` output channels and images ``width`` wide, the library's own first."""
    fitting = [name for name, cut in CUTS[op, direction].items() if cuts.suits(cut, features, width)]
    return ["library", "padded", *(f"triton {name}" for name in fitting)]


def make_entry_task(
    direction: str, device: torch.device, n: int, c: int, h: int, w: int, f: int, k: int, stride: int, padding: int,
    slope: float, bias: bool, dtype: torch.dtype,
) -> Task:  # fmt: skip
    """Frames and weights of the case; the outputs, or with ``backward`` the derivatives by weight and bias."""
    random = _source(device)
    x, weight = random(n, c, h, w), random(f, c, k, k, scale=(c * k * k) ** -0.5)
    shift = random(f) if bias else None
    settings = stride, padding, slope
    run, run_backward = torch.ops.fastsep.thin_entry, torch.ops.fastsep.thin_entry_backward
    # Operands as the products see them, so that the exact result leaves only the candidates' own errors.
    exact = x.to(dtype).float(), weight.to(dtype).float()
    if direction == "forward":
        calls = {
            way: lambda way=way: [run(x, weight, shift, *settings, dtype, way)]
            for way in ways("thin_entry", direction, f, w)
        }
        return Task(calls, lambda: [run(*exact, shift, *settings, torch.float32, "library")])
    y = run(x, weight, shift, *settings, dtype, "library")
    grad = random(*y.shape).to(dtype).contiguous(memory_format=torch.channels_last)
    calls = {
        way: lambda way=way: run_backward(grad, x, y, weight, *settings, way)
        for way in ways("thin_entry", direction, f, w)
    }
    return Task(calls, lambda: run_backward(grad.float(), exact[0], y.float(), exact[1], *settings, "library"))


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
    settings = transposed, stride, False
    run, run_backward = torch.ops.fastsep.thin_exit, torch.ops.fastsep.thin_exit_backward
    exact = x.float(), weight.to(dtype).float()
    if direction == "forward":
        calls = {
            way: lambda way=way: [run(x, weight, shift, *settings, way)] for way in ways("thin_exit", direction, f, w)
        }
        return Task(calls, lambda: [run(*exact, shift, *settings, "library")])
    y = run(x, weight, shift, *settings, "library")
    grad = random(*y.shape)
    calls = {
        way: lambda way=way: run_backward(grad, x, y, weight, *settings, way)
        for way in ways("thin_exit", direction, f, w)
    }
    return Task(calls, lambda: run_backward(grad, exact[0], y, exact[1], *settings, "library"))


def _source(device: torch.device) -> Callable[..., Tensor]:
    generator = torch.Generator(device).manual_seed(0)

    def random(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator, device=device).mul_(scale)

    return random
