"""Launch the Triton kernels of an entry: grids, buffers, sums in a fixed order. Letters as in entry.py."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from kernels.gpu import multiprocessors
from kernels.thin_conv import cuts
from kernels.thin_conv.entry import entry_kernel, entry_weights_kernel, pad_kernel

PROGRAMS_PER_SM = 4
"""Programs that share the work where each adds up a partial sum."""
PADDED = 256
"""Pixels of a program that pads frames."""


def block(channels: int) -> int:
    """Columns of a tile: a power of two that a tensor core takes."""
    return max(16, triton.next_power_of_2(channels))


def check_sizes(*tensors: Tensor) -> None:
    """The kernels count in 32 bits, which leaves them registers."""
    if max(tensor.numel() for tensor in tensors) >= 2**31:
        raise ValueError("the kernels take tensors of less than 2^31 elements")


def pad_constants(x: Tensor, padding: int) -> dict[str, int]:
    """What the kernel that pads frames knows of their shape."""
    _, c, h, w = x.shape
    _, hp, wp, cp = cuts.padded_shape(*x.shape, padding)
    return {"C": c, "H": h, "W": w, "HP": hp, "WP": wp, "CP": cp, "PADDING": padding, "BLOCK": PADDED}


def entry_constants(
    padded: tuple[int, ...], weight: Tensor, stride: int, slope: float, bias: bool, cut: cuts.EntryCut
) -> dict[str, object]:
    """What the other kernels of an entry know of its shape, the frames being ``padded`` (N, HP, WP, CP)."""
    _, hp, wp, cp = padded
    f, _, kh, kw = weight.shape
    block_k = min(cut.block_k, block(kh * kw * cp))
    columns = triton.cdiv(kh * kw * cp, block_k) * block_k
    sizes = {"F": f, "OH": (hp - kh) // stride + 1, "OW": (wp - kw) // stride + 1, "HP": hp, "WP": wp, "CP": cp}
    sizes |= {"KP": columns, "KH": kh, "KW": kw, "STRIDE": stride, "SLOPE": slope, "HAS_BIAS": bias}
    return {**sizes, "BLOCK_M": cut.block_m, "BLOCK_K": block_k, "BLOCK_F": block(f), "STAGES": cut.stages}


def pad(x: Tensor, padding: int, dtype: torch.dtype) -> Tensor:
    """(N, HP, WP, CP) in ``dtype``: the frames ``x`` (N, C, H, W), channels last, between zeros."""
    constants = pad_constants(x, padding)
    out = torch.empty(cuts.padded_shape(*x.shape, padding), dtype=dtype, device=x.device)
    check_sizes(x, out)
    pixels = out.numel() // constants["CP"]
    pad_kernel[(triton.cdiv(pixels, PADDED),)](x, out, out, pixels, *x.stride(), **constants, SUMS=False, num_warps=4)
    return out


def entry(
    x: Tensor, padded: Tensor | None, weight: Tensor, bias: Tensor | None, stride: int, padding: int, slope: float,
    dtype: torch.dtype, cut: str,
) -> Tensor:  # fmt: skip
    """y (N, F, OH, OW) in ``dtype``, channels last; ``padded`` is what ``pad`` makes of ``x``, by default made here."""
    shape, padded = cuts.ENTRY[cut], pad(x, padding, dtype) if padded is None else padded
    constants = entry_constants(padded.shape, weight, stride, slope, bias is not None, shape)
    f, c, kh, kw = weight.shape
    columns = torch.zeros(constants["KP"] // constants["CP"], constants["CP"], f, dtype=dtype, device=padded.device)
    columns[: kh * kw, :c].unflatten(0, (kh, kw)).copy_(weight.permute(2, 3, 1, 0))
    sizes = padded.shape[0], f, constants["OH"], constants["OW"]
    y = torch.empty(sizes, dtype=dtype, device=padded.device, memory_format=torch.channels_last)
    check_sizes(y)
    pixels = y.numel() // f
    entry_kernel[(triton.cdiv(pixels, shape.block_m),)](
        padded, columns, weight if bias is None else bias, y, pixels, **constants, num_warps=shape.warps
    )
    return y


def entry_gradients(
    grad: Tensor, x: Tensor | None, padded: Tensor | None, y: Tensor, weight: Tensor, stride: int, padding: int,
    slope: float, bias: bool, cut: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Derivatives by ``weight`` and bias (empty where there is none), float32; ``padded`` as in ``entry``."""
    shape, padded = cuts.ENTRY_WEIGHTS[cut], pad(x, padding, grad.dtype) if padded is None else padded
    constants = entry_constants(padded.shape, weight, stride, slope, bias, shape)
    check_sizes(y)
    f, c, kh, kw = weight.shape
    pixels, blocks = y.numel() // f, constants["KP"] // constants["BLOCK_K"]
    chunk, splits = share_out(pixels, shape.block_m, y.device, blocks)
    partial, partial_bias = weight.new_empty(splits, f, constants["KP"]), weight.new_empty(splits, f if bias else 0)
    entry_weights_kernel[(splits, blocks)](
        padded, y, grad, partial, partial_bias, pixels, chunk, **constants, num_warps=shape.warps
    )
    by_weight = partial.sum(0).unflatten(1, (-1, constants["CP"]))[:, : kh * kw, :c].unflatten(1, (kh, kw))
    return torch.empty_like(weight).copy_(by_weight.permute(0, 3, 1, 2)), partial_bias.sum(0)


def share_out(pixels: int, block_m: int, device: torch.device, others: int = 1) -> tuple[int, int]:
    """Pixels of a program, a multiple of ``block_m``, and the number of programs that share ``pixels``.

    ``others``: in how many parts the work is cut besides.
    """
    programs = max(1, PROGRAMS_PER_SM * multiprocessors(device) // others)  # one too many would be a second wave of few
    chunk = triton.cdiv(triton.cdiv(pixels, programs), block_m) * block_m
    return chunk, triton.cdiv(pixels, chunk)
