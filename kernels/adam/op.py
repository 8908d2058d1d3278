"""The public function: checks, and which way."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kernels.adam.reference import Moments, adam_reference
from kernels.gpu import INTERPRETED

BLOCK = 1024


@torch.no_grad()
def adam_step(
    weight: Tensor,
    half: Tensor,
    grad: Tensor,
    moments: Moments,
    rate: Tensor,
    betas: tuple[float, float],
    eps: float,
    excess: Tensor | None = None,
) -> None:
    """One step of Adam, in place, and the weight rounded to a half type: on a GPU one kernel, else plain PyTorch.

    Args:
        weight: float32, dense.
        half: bfloat16 or float16 in the layout of ``weight``, overwritten.
        grad: of the type of ``half``.
        moments: in the layout of ``weight``; their number of steps counts this one.
        rate: () float32 on the device.
        excess: () float32 on the device, what the gradient is divided by; none is 1.

    Raises:
        ValueError: tensors that do not lie alike.
    """
    if any(tensor.stride() != weight.stride() for tensor in (half, moments.first, moments.second)):
        raise ValueError("a weight, its moments and its half must lie alike in memory")
    if grad.stride() != weight.stride():
        grad = torch.empty_like(half).copy_(grad)
    if weight.device.type == "cpu" and not INTERPRETED:
        adam_reference(weight, half, grad, moments, rate, excess, betas, eps)
        return
    from kernels.adam.kernels import adam_kernel  # a CPU install has no Triton

    numbers = weight.numel()
    adam_kernel[(-(-numbers // BLOCK),)](
        weight, moments.first, moments.second, half, grad, moments.step, rate, rate if excess is None else excess,
        numbers, **constants(betas, eps, excess is not None), num_warps=4,
    )  # fmt: skip


def constants(betas: tuple[float, float], eps: float, has_excess: bool) -> dict[str, float | bool | int]:
    """What the kernel knows when it is compiled."""
    logs = [math.log(beta) if beta else -1e4 for beta in betas]
    of_betas = {"BETA1": betas[0], "BETA2": betas[1], "LOG_BETA1": logs[0], "LOG_BETA2": logs[1]}
    return {**of_betas, "EPS": eps, "HAS_EXCESS": has_excess, "BLOCK": BLOCK}
