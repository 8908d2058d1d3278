"""Run by test_adam.py in a process of its own: the Triton kernel interpreted, against the definition in float64."""

from __future__ import annotations

import torch

from kernels.adam import Moments, adam_step
from kernels.adam.reference import adam_reference


def main() -> None:
    torch.manual_seed(0)
    for shape, betas, has_excess in (
        ((3, 5, 4, 4), (0.9, 0.99), True),
        ((1300,), (0.5, 0.999), False),
        ((7,), (0.0, 0.0), True),
    ):
        weight = torch.randn(shape)
        if weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        rate, excess = torch.tensor(1e-3), torch.tensor(3.0) if has_excess else None
        ours = weight.clone(), Moments(torch.zeros_like(weight), torch.zeros_like(weight), torch.zeros(()))
        exact = weight.double(), Moments(*(moment.double() for moment in ours[1]))
        for number in range(12):
            half = torch.full_like(weight, torch.nan, dtype=torch.float16)
            grad = torch.randn(shape).half() * 0.1 ** (number % 5)  # sometimes in another layout
            for _, moments in (ours, exact):
                moments.step.add_(100 if number == 9 else 1)
            adam_step(ours[0], half, grad, ours[1], rate, betas, 1e-8, excess)
            adam_reference(exact[0], half.clone(), grad, exact[1], rate.double(), excess, betas, 1e-8)
            for one, other in zip((ours[0], *ours[1]), (exact[0], *exact[1]), strict=True):
                torch.testing.assert_close(one.double(), other, rtol=2e-6, atol=1e-8)
            assert torch.equal(half, ours[0].half())


if __name__ == "__main__":
    main()
