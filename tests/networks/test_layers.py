"""Batch norm per call, and convolutions that do static work once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.layers import CallBatchNorm2d, CodeConvTranspose2d, JoinConv2d, JoinConvTranspose2d

FORMS = ("_call_by_call", "_grouped")


def one_by_one(norm: nn.BatchNorm2d, x: Tensor, calls: int, slope: float = 1.0) -> Tensor:
    return F.leaky_relu(torch.cat([norm(part) for part in x.chunk(calls)]), slope)


def pair(channels: int) -> tuple[CallBatchNorm2d, nn.BatchNorm2d]:
    """Ours and PyTorch's layer with the same random state, in training mode."""
    torch.manual_seed(0)
    ours, theirs = CallBatchNorm2d(channels).double(), nn.BatchNorm2d(channels).double()
    for tensor in (ours.weight.data, ours.bias.data, ours.running_mean, ours.running_var):
        tensor.uniform_(0.5, 2.0)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("calls", "slope"), [(1, 0.2), (2, 1.0), (7, 0.2), (3, 0.0)])
def test_calls_at_once_equal_calls_in_order(form: str, calls: int, slope: float) -> None:
    ours, theirs = pair(5)
    x = (torch.randn(calls * 3, 5, 3, 2, dtype=torch.float64) * 3 + 1).requires_grad_()
    grad = torch.randn_like(x)
    y, expected = getattr(ours, form)(x, calls, slope), one_by_one(theirs, x, calls, slope)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad(y, [x, ours.weight, ours.bias], grad)
    torch.testing.assert_close(
        gradients, torch.autograd.grad(expected, [x, theirs.weight, theirs.bias], grad), rtol=1e-11, atol=1e-11
    )
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-13, atol=0)


def test_public_call_counts_and_updates() -> None:
    ours, theirs = pair(4)
    x = torch.randn(6, 4, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(ours(x, 3), one_by_one(theirs, x, 3))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert ours.num_batches_tracked.item() == 3


def test_evaluation_uses_running_statistics() -> None:
    ours, theirs = pair(4)
    x = torch.randn(6, 4, 2, 2, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    torch.testing.assert_close(ours.eval()(x, 3, 0.2), F.leaky_relu(theirs.eval()(x), 0.2))
    torch.testing.assert_close(ours.state_dict(), before)


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_keeps_statistics_in_float32(form: str) -> None:
    norm = CallBatchNorm2d(4)
    x = torch.randn(6, 4, 8, 8) * 2 + 5
    expected = getattr(CallBatchNorm2d(4), form)(x, 2, 0.2)
    y = getattr(norm, form)(x.bfloat16(), 2, 0.2)
    assert y.dtype == torch.bfloat16
    assert norm.running_var.dtype == torch.float32
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_traces_as_one_graph(form: str) -> None:
    ours, theirs = pair(4)
    x = torch.randn(6, 4, 2, 2, dtype=torch.float64)
    y = torch.compile(getattr(ours, form), backend="aot_eager", fullgraph=True)(x, 3, 0.2)
    torch.testing.assert_close(y, one_by_one(theirs, x, 3, 0.2))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)


@pytest.mark.parametrize("static_first", [False, True])
def test_join_equals_convolution_of_all_channels(static_first: bool) -> None:
    conv = JoinConv2d(3, 5, 4, static_first).double()
    dynamic, static = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.randn(2, 5, 8, 8, dtype=torch.float64)
    repeated = static.repeat(3, 1, 1, 1)
    channels = [repeated, dynamic] if static_first else [dynamic, repeated]
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
