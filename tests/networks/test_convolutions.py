"""Convolutions that do static work once, or double the image on the way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fastsep.networks.convolutions import CodeConvTranspose2d, DoublingConv2d, JoinConv2d, JoinConvTranspose2d


@pytest.mark.parametrize("doubles", [False, True])
@pytest.mark.parametrize("static_first", [False, True])
def test_join_equals_convolution_of_all_channels(static_first: bool, doubles: bool) -> None:
    conv = JoinConv2d(3, 5, 4, static_first, doubles).double()
    size = 4 if doubles else 8
    dynamic, static = torch.randn(6, 3, size, size, dtype=torch.float64), torch.randn(2, 5, 8, 8, dtype=torch.float64)
    repeated, large = static.repeat(3, 1, 1, 1), F.interpolate(dynamic, size=8, mode="nearest")
    channels = [repeated, large] if static_first else [large, repeated]
    expected = F.conv2d(torch.cat(channels, 1), conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(dynamic, static, 3), expected)


def test_transposed_join_equals_convolution_of_all_channels() -> None:
    conv = JoinConvTranspose2d(3, 5, 4).double()
    dynamic, static = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.randn(2, 5, 8, 8, dtype=torch.float64)
    joined = torch.cat([dynamic, static.repeat(3, 1, 1, 1)], 1)
    expected = F.conv_transpose2d(joined, conv.weight, conv.bias, stride=2, padding=1)
    torch.testing.assert_close(conv(dynamic, static, 3), expected)


@pytest.mark.parametrize("static_size", [0, 5])
def test_code_layer_equals_transposed_convolution(static_size: int) -> None:
    conv = CodeConvTranspose2d(static_size, 3, 4).double()
    dynamic, static = torch.randn(6, 3, dtype=torch.float64), torch.randn(2, static_size, dtype=torch.float64)
    code = torch.cat([static.repeat(3, 1), dynamic], 1)[..., None, None]
    torch.testing.assert_close(conv(dynamic, static, 3), F.conv_transpose2d(code, conv.weight, conv.bias))


def test_doubling_equals_convolution_of_the_doubled_image() -> None:
    conv = DoublingConv2d(3, 4).double()
    x = torch.randn(6, 3, 5, 7, dtype=torch.float64)
    large = F.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(conv(x), F.conv2d(large, conv.weight, conv.bias, padding=1))
