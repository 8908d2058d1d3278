"""The doubling convolution's own gradient for small bfloat16 images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fastsep.networks.deconv import double_image


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (1, 1), (5, 5)])
def test_gradients_are_as_good_as_the_library(height: int, width: int, layout: torch.memory_format) -> None:
    exact = [torch.randn(6, 8, height, width).bfloat16().double(), torch.randn(8, 5, 4, 4).bfloat16().double()]
    grad = torch.randn(6, 5, 2 * height, 2 * width).bfloat16()

    def run(function, dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = [t.to(dtype).contiguous(memory_format=layout).requires_grad_() for t in exact]
        y = function(*inputs)
        return [y, *torch.autograd.grad(y, inputs, grad.to(dtype))]

    def library(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(x, weight, stride=2, padding=1)

    for ours, theirs, truth in zip(
        run(double_image, torch.bfloat16), run(library, torch.bfloat16), run(library, torch.float64), strict=True
    ):
        assert ours.shape == truth.shape
        assert (ours - truth).norm() <= 2 * (theirs - truth).norm() + 1e-3 * truth.norm()


def test_autocast_computes_in_bfloat16_and_returns_float32_gradients() -> None:
    x, weight, bias = torch.randn(2, 3, 4, 4), torch.randn(3, 5, 4, 4), torch.randn(5)
    tensors = [t.requires_grad_() for t in (x, weight, bias)]
    with torch.autocast("cpu", torch.bfloat16):
        y = double_image(*tensors)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), F.conv_transpose2d(x, weight, bias, 2, 1), rtol=0.02, atol=0.1)
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(y.float().square().sum(), tensors))
    wide = double_image(x.float(), weight, bias)
    torch.testing.assert_close(wide, F.conv_transpose2d(x, weight, bias, 2, 1))
