"""Both forms as candidates. Letters as in reference.py."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.choose import Task
from kernels.doubled_conv.reference import doubled_conv_reference, folded_conv

FORMS = {"doubled": doubled_conv_reference, "folded": folded_conv}


def make_task(direction: str, device: torch.device, n: int, c: int, h: int, w: int, f: int, dtype: torch.dtype) -> Task:
    """Output and both gradients of a layer, with the weight in float32 and products in ``dtype``, as in training."""
    generator = torch.Generator(device).manual_seed(0)

    def random(*shape: int) -> Tensor:
        tensor = torch.randn(shape, generator=generator, device=device)
        return tensor.to(memory_format=torch.channels_last)

    x, grad = random(n, c, h, w).to(dtype).requires_grad_(), random(n, f, 2 * h, 2 * w).to(dtype)
    weight = random(f, c, 3, 3).mul_((9 * c) ** -0.5).requires_grad_()

    def run(form: str, exact: bool = False) -> list[Tensor]:
        low = dtype in (torch.bfloat16, torch.float16) and not exact
        inputs = (x.detach().float().requires_grad_() if exact and dtype != torch.float64 else x), weight
        with torch.autocast(device.type, dtype if low else torch.bfloat16, enabled=low):
            y = FORMS[form](*inputs)
        return [y.detach(), *torch.autograd.grad(y, inputs, grad.to(y.dtype))]

    return Task({form: lambda form=form: run(form) for form in FORMS}, lambda: run("doubled", exact=True))
