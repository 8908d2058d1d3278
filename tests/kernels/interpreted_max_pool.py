"""Run by test_max_pool.py in a process of its own: the Triton kernels interpreted, against PyTorch's pooling."""

from __future__ import annotations

from itertools import product

import torch
from torch import library

from kernels.max_pool.op import _MaxPool
from kernels.max_pool.reference import max_pool_reference

SIZES = [(2, 3, 5, 7), (1, 20, 8, 6), (2, 64, 9, 9), (2, 70, 1, 2), (1, 1, 1, 1)]


def special(size: tuple[int, ...]) -> torch.Tensor:
    """Maps of any kind, with equal pixels, with nothing but minus infinity, of zeros, and with NaN here and there."""
    x = torch.randn(size)
    holes = torch.where(torch.rand(size) < 0.2, torch.nan, x)
    return torch.cat([x, x.relu(), torch.full(size, -torch.inf), torch.zeros(size), holes])


def main() -> None:
    torch.manual_seed(0)
    for size, side in product(SIZES, (2, 3)):
        if min(size[2:]) < side - 1 + (side == 2):
            continue  # no window
        for dtype in (torch.float32, torch.float16):
            x = special(size).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
            y, expected = _MaxPool.apply(x, side), max_pool_reference(x, side)
            torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True)
            assert y.is_contiguous(memory_format=torch.channels_last)
            grad = torch.randn(y.shape).to(dtype)
            wide = x.detach().float().requires_grad_()  # PyTorch on a CPU rounds each sum of two to the half type
            (wanted,) = torch.autograd.grad(max_pool_reference(wide, side), wide, grad.float())
            torch.testing.assert_close(torch.autograd.grad(y, x, grad)[0], wanted.to(dtype))
    alone = torch.randn(1, 1, 1, 1)
    assert torch.equal(_MaxPool.apply(alone.contiguous(memory_format=torch.channels_last), 3), alone)
    x = torch.randn(2, 20, 5, 7, requires_grad=True)
    exact = _MaxPool.apply(x.contiguous(memory_format=torch.channels_last), 3)
    compiled = torch.compile(_MaxPool.apply, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, 3), exact)
    wanted, found = (torch.autograd.grad(y.square().sum(), x)[0] for y in (exact, compiled(x, 3)))
    torch.testing.assert_close(found, wanted)
    low = x.detach().contiguous(memory_format=torch.channels_last)
    for side in (2, 3):
        library.opcheck(torch.ops.fastsep.max_pool, (low, side))
        y, place = torch.ops.fastsep.max_pool(low, side)
        library.opcheck(torch.ops.fastsep.max_pool_backward, (y, place, side, 5, 7))


if __name__ == "__main__":
    main()
