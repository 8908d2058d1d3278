"""Launch the Triton kernels: grids, buffers, sums of partial results in a fixed order. Letters as in entry.py."""

from __future__ import annotations

import functools
import os

import torch
import triton
from torch import Tensor

from kernels.thin_conv import cuts
from kernels.thin_conv.entry import entry_kernel, entry_weights_kernel
from kernels.thin_conv.exit import exit_gradients_kernel, exit_kernel

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
PROGRAMS_PER_SM = 4
"""Programs that share the work where each adds up a partial sum."""


def block(channels: int) -> int:
    """Columns of a tile: a power of two that a tensor core takes."""
    return max(16, triton.next_power_of_2(channels))


def _check(*tensors: Tensor) -> None:
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
    _check(x, y)
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
    _check(x, y)
    f, columns = weight.shape[0], weight[0].numel()
    pixels = x.shape[0] * constants["OH"] * constants["OW"]
    block_k = min(shape.block_k, block(columns))
    chunk, splits = _split(pixels, shape.block_m, x.device)
    partial, partial_bias = x.new_empty(splits, f, columns), x.new_empty(splits, f)
    entry_weights_kernel[(splits, triton.cdiv(columns, block_k))](
        x, y, grad, partial, partial_bias, pixels, chunk, *x.stride(), **constants,
        BLOCK_M=shape.block_m, BLOCK_K=block_k, num_warps=shape.warps,
    )  # fmt: skip
    return torch.empty_like(weight).copy_(partial.sum(0).view(weight.shape)), partial_bias.sum(0)


def exit_constants(x: Tensor, weight: Tensor, transposed: bool, stride: int, sigmoid: bool) -> dict[str, object]:
    """What the kernels of an exit know of its shape."""
    _, c, h, w = x.shape
    sizes = {"C": c, "F": weight.shape[1 if transposed else 0], "H": h, "W": w, "BLOCK_C": block(c)}
    return {**sizes, "DOUBLES": stride == 2, "FLIPPED": transposed, "SIGMOID": sigmoid}


def columns_of(features: int, doubles: bool) -> tuple[int, int]:
    """OUTPUTS and TERMS of the forward kernel."""
    return (4 * triton.next_power_of_2(features), 4) if doubles else (triton.next_power_of_2(features), 16)


def exit_(
    x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, stride: int, sigmoid: bool, cut: str
) -> Tensor:
    """Frames (N, F, s H, s W), float32."""
    constants, shape = exit_constants(x, weight, transposed, stride, sigmoid), cuts.EXIT[cut]
    n, _, h, w = x.shape
    features = constants["F"]
    used = shape.pixels // w - 2
    y = torch.empty(n, features, stride * h, stride * w, device=x.device)
    _check(x, y)
    outputs, terms = columns_of(features, stride == 2)
    exit_kernel[(n * triton.cdiv(h, used),)](
        x, weight, weight if bias is None else bias, y, *_weight_strides(weight, transposed), *y.stride(), **constants,
        HAS_BIAS=bias is not None, PIXELS=shape.pixels, OUTPUTS=outputs, TERMS=terms, num_warps=shape.warps,
    )  # fmt: skip
    return y


def exit_gradients(
    grad: Tensor, x: Tensor, y: Tensor, weight: Tensor, transposed: bool, stride: int, sigmoid: bool, cut: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by ``x`` (channels last), ``weight`` and bias, the last two float32."""
    constants, shape = exit_constants(x, weight, transposed, stride, sigmoid), cuts.EXIT_GRADIENTS[cut]
    _check(x, y)
    n, c, h, w = x.shape
    f, side = constants["F"], 4 if stride == 2 else 3
    columns = block(16 * f)
    chunk, splits = _split(n * h * w, shape.block_m, x.device)
    by_x = torch.empty_like(x)
    partial, partial_bias = grad.new_empty(splits, c, columns), grad.new_empty(splits, columns)
    exit_gradients_kernel[(splits,)](
        x, weight, y, grad, by_x, partial, partial_bias, n * h * w, chunk, *_weight_strides(weight, transposed),
        *grad.stride(), **constants, BLOCK_M=shape.block_m, COLUMNS=columns, STAGES=shape.stages, num_warps=shape.warps,
    )  # fmt: skip
    by_weight = partial.sum(0)[:, : 16 * f].unflatten(1, (f, 16))[:, :, : side * side].unflatten(2, (side, side))
    if not transposed:
        by_weight = by_weight.flip(2, 3).transpose(0, 1)
    taps = partial_bias.sum(0)[: 16 * f].unflatten(0, (f, 16))[:, : side * side].unflatten(1, (side, side))
    # The windows of neighbours overlap: these taps meet every pixel of the gradient once.
    by_bias = taps[:, 1:3, 1:3].sum((1, 2)) if stride == 2 else taps[:, 1, 1].clone()
    return by_x, torch.empty_like(weight).copy_(by_weight), by_bias


def _weight_strides(weight: Tensor, transposed: bool) -> tuple[int, int, int, int]:
    """By input channel, output channel, row and column."""
    first, second, row, column = weight.stride()
    return (first, second, row, column) if transposed else (second, first, row, column)


def _split(pixels: int, block_m: int, device: torch.device) -> tuple[int, int]:
    """Pixels of a program, a multiple of ``block_m``, and the number of programs."""
    chunk = triton.cdiv(triton.cdiv(pixels, _programs(device)), block_m) * block_m
    return chunk, triton.cdiv(pixels, chunk)


@functools.cache
def _programs(device: torch.device) -> int:
    if device.type == "cpu":
        return PROGRAMS_PER_SM
    return PROGRAMS_PER_SM * torch.cuda.get_device_properties(device).multi_processor_count
