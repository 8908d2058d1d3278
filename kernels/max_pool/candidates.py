"""The ways to pool, as candidates to choose among. Letters as in reference.py."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.choose import Task
from kernels.max_pool.reference import max_pool_reference, windows_along


def make_task(
    direction: str, device: torch.device, side: int, n: int, c: int, h: int, w: int, dtype: torch.dtype
) -> Task:
    """Pooled map and derivative of a map as a ReLU leaves it: half of the pixels are zero, and many windows all."""
    from kernels.max_pool import op  # which registers this function

    generator = torch.Generator(device).manual_seed(0)

    def random(*shape: int) -> Tensor:
        tensor = torch.randn(shape, generator=generator, device=device).to(dtype)
        return tensor.contiguous(memory_format=torch.channels_last)

    x, grad = random(n, c, h, w).relu_(), random(n, c, windows_along(h, side), windows_along(w, side))

    def run(way: str, dtype: torch.dtype = dtype) -> list[Tensor]:
        leaf = x.to(dtype).requires_grad_()
        y = max_pool_reference(leaf, side) if way == "library" else op._MaxPool.apply(leaf, side)
        return [y.detach(), *torch.autograd.grad(y, leaf, grad.to(dtype))]

    calls = {way: lambda way=way: run(way) for way in ("library", "triton")}
    return Task(calls, lambda: run("library", torch.float32))
