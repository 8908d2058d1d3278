"""Launch the Triton kernels: grids and buffers. Letters as in reference.py."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from kernels.max_pool.kernels import max_pool_gradient_kernel, max_pool_kernel
from kernels.max_pool.reference import windows_along

TILE = 2048
"""Numbers that a program holds of each window's pixel: 16 a thread, loaded in two pieces of 16 bytes."""
MAX_BLOCK_C = 64


def constants(side: int, channels: int, height: int, width: int) -> dict[str, int]:
    """What the kernels know of windows and a map's shape."""
    block_c = min(MAX_BLOCK_C, triton.next_power_of_2(channels))
    windows = {"OH": windows_along(height, side), "OW": windows_along(width, side)}
    sizes = {"SIDE": side, "C": channels, "H": height, "W": width, **windows}
    return {**sizes, "BLOCK": TILE // block_c, "BLOCK_C": block_c}


def forward(x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The pooled map, channels last as ``x`` is, and the places (int8) of the largest pixels.

    Raises:
        ValueError: 2^31 numbers or more: the kernels count in 32 bits.
    """
    if x.numel() >= 2**31:
        raise ValueError("the kernels take tensors of less than 2^31 elements")
    n, c, h, w = x.shape
    known = constants(side, c, h, w)
    y = torch.empty(n, c, known["OH"], known["OW"], dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    place = torch.empty_like(y, dtype=torch.int8)
    windows = n * known["OH"] * known["OW"]
    max_pool_kernel[_grid(windows, known)](x, y, place, windows, **known, num_warps=4)
    return y, place


def backward(grad: Tensor, place: Tensor, side: int, height: int, width: int) -> Tensor:
    """The derivative by the map of ``height`` and ``width``, channels last as ``grad`` is."""
    n, c = grad.shape[:2]
    known = constants(side, c, height, width)
    by_x = torch.empty(n, c, height, width, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last)
    squares = n * ((height + 1) // 2) * ((width + 1) // 2)
    max_pool_gradient_kernel[_grid(squares, known)](grad, place, by_x, squares, **known, num_warps=4)
    return by_x


def _grid(count: int, known: dict[str, int]) -> tuple[int, int]:
    return triton.cdiv(count, known["BLOCK"]), triton.cdiv(known["C"], known["BLOCK_C"])
