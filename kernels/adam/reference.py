"""The definition, in plain PyTorch: Adam (Kingma and Ba, 2015, algorithm 1), and the weight rounded."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Moments(NamedTuple):
    """Running means of a gradient and of its square, float32 and laid out as the weight, and the number of steps."""

    first: Tensor
    second: Tensor
    step: Tensor
    """() float32 on the device: counted already when a step begins."""


def adam_reference(
    weight: Tensor, half: Tensor, grad: Tensor, moments: Moments, rate: Tensor, excess: Tensor | None,
    betas: tuple[float, float], eps: float,
) -> None:  # fmt: skip
    """A step of ``weight`` (float32) down ``grad / excess``, and ``weight`` rounded in ``half``; all in place."""
    first, second, step = moments
    grad = grad.to(weight.dtype)
    if excess is not None:
        grad = grad / excess
    first.mul_(betas[0]).add_(grad, alpha=1 - betas[0])
    second.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    biased = [(1 - beta ** step.double()).to(weight.dtype) for beta in betas]
    weight.sub_(rate / biased[0] * first / ((second / biased[1]).sqrt() + eps))
    half.copy_(weight)
