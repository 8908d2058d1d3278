"""Launch the Triton kernels of an entry: grids, buffers, sums in a fixed order. Letters as in entry.py."""

from __future__ import annotations

import functools
import os

import torch
import triton
from torch import Tensor

from kernels.thin_conv import cuts
from kernels.thin_conv.entry import entry_kernel, entry_weights_kernel

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
PROGRAMS_PER_SM = 4
"""Programs that share the work where each adds up a partial sum."""


def block(channels: int) -> int:
    """Columns of a tile: a power of two that a tensor core takes."""
    return max(16, triton.next_power_of_2(channels))


def check_sizes(*tensors: Tensor) -> None:
    """The kernels count in 32 bits, which leaves them registers."""
    if max(tensor.numel() for tensor in tensors) >= 2**31:
        raise ValueError("the kernels take tensors of less than 2^31 elements")


def entry_constants(x: Tensor, weight: Tensor, stride: int, padding: int, slope: float) -> dict[str, object]:
    """What the kernels of an entry know of its shape."""
    _, c, h, w = x.shape
    f, _, kh, kw = weight.shape
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    sizes = {
        "C": c,
        "H": h,
        "W": w,
        "F": f,
        "OH": oh,
        "OW": ow,
        "KH": kh,
        "KW": kw,
        "STRIDE": stride,
        "PADDING": padding,
    }
    return {**sizes, "SLOPE": slope, "BLOCK_F": block(f)}


def entry(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    slope: float,
    dtype: torch.dtype,
    cut: str,
) -> Tensor:
    """y (N, F, OH, OW) in ``dtype``, channels last."""
    constants, shape = entry_constants(x, weight, stride, padding, slope), cuts.ENTRY[cut]
    n, f, oh, ow = x.shape[0], weight.shape[0], constants["OH"], constants["OW"]
    y = torch.empty(n, f, oh, ow, dtype=dtype, device=x.device, memory_format=torch.channels_last)
    check_sizes(x, y)
    pixels = n * oh * ow
    entry_kernel[(triton.cdiv(pixels, shape.block_m),)](
        x, weight, weight if bias is None else bias, y, pixels, *x.stride(), *weight.stride(), **constants,
        HAS_BIAS=bias is not None, BLOCK_M=shape.block_m, BLOCK_K=shape.block_k, num_warps=shape.warps,
    )  # fmt: skip
    return y


def entry_gradients(
    grad: Tensor, x: Tensor, y: Tensor, weight: Tensor, stride: int, padding: int, slope: float, cut: str
) -> tuple[Tensor, Tensor]:
    """Derivatives by ``weight`` and bias, float32."""
    constants, shape = entry_constants(x, weight, stride, padding, slope), cuts.ENTRY_WEIGHTS[cut]
    check_sizes(x, y)
    f, columns = weight.shape[0], weight[0].numel()
    pixels = x.shape[0] * constants["OH"] * constants["OW"]
    block_k = min(shape.block_k, block(columns))
    chunk, splits = share_out(pixels, shape.block_m, x.device, triton.cdiv(columns, block_k))
    partial, partial_bias = x.new_empty(splits, f, columns), x.new_empty(splits, f)
    entry_weights_kernel[(splits, triton.cdiv(columns, block_k))](
        x, y, grad, partial, partial_bias, pixels, chunk, *x.stride(), **constants,
        BLOCK_M=shape.block_m, BLOCK_K=block_k, num_warps=shape.warps,
    )  # fmt: skip
    return torch.empty_like(weight).copy_(partial.sum(0).view(weight.shape)), partial_bias.sum(0)


def share_out(pixels: int, block_m: int, device: torch.device, others: int = 1) -> tuple[int, int]:
    """Pixels of a program, a multiple of ``block_m``, and the number of programs that share ``pixels``.

    ``others``: in how many parts the work is cut besides.
    """
    programs = triton.cdiv(_programs(device), others)
    chunk = triton.cdiv(triton.cdiv(pixels, programs), block_m) * block_m
    return chunk, triton.cdiv(pixels, chunk)


@functools.cache
def _programs(device: torch.device) -> int:
    if device.type == "cpu":
        return PROGRAMS_PER_SM
    return PROGRAMS_PER_SM * torch.cuda.get_device_properties(device).multi_processor_count
