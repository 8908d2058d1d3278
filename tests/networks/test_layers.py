"""Batch norm per call, and blocks that leave the bias in front of it out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.convolutions import (
    CodeConvTranspose2d,
    Conv2d,
    ConvTranspose2d,
    DoublingConv2d,
    JoinConv2d,
    JoinConvTranspose2d,
    conv3,
)
from fastsep.networks.layers import Block, CallBatchNorm2d


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


@pytest.mark.parametrize(("calls", "slope"), [(1, 0.2), (2, 1.0), (7, 0.2), (3, 0.0)])
def test_calls_at_once_equal_calls_in_order(calls: int, slope: float) -> None:
    ours, theirs = pair(5)
    x = (torch.randn(calls * 3, 5, 3, 2, dtype=torch.float64) * 3 + 1).requires_grad_()
    grad = torch.randn_like(x)
    y, expected = ours(x, calls, slope), one_by_one(theirs, x, calls, slope)
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


def test_half_precision_keeps_statistics_in_float32() -> None:
    norm = CallBatchNorm2d(4)
    x = torch.randn(6, 4, 8, 8) * 2 + 5
    expected = CallBatchNorm2d(4)(x, 2, 0.2)
    y = norm(x.bfloat16(), 2, 0.2)
    assert y.dtype == torch.bfloat16
    assert norm.running_var.dtype == torch.float32
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.05)


def test_traces_as_one_graph() -> None:
    ours, theirs = pair(4)
    x = torch.randn(6, 4, 2, 2, dtype=torch.float64)
    y = torch.compile(ours, backend="aot_eager", fullgraph=True)(x, 3, 0.2)
    torch.testing.assert_close(y, one_by_one(theirs, x, 3, 0.2))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)


LAYERS = {
    "conv": lambda: conv3(3, 5),
    "strided": lambda: Conv2d(3, 5, 4, stride=2, padding=1),
    "transposed": lambda: ConvTranspose2d(3, 5, 4, stride=2, padding=1),
    "doubling": lambda: DoublingConv2d(3, 5),
    "join": lambda: JoinConv2d(3, 2, 5),
    "doubling join": lambda: JoinConv2d(3, 2, 5, static_first=True, doubles=True),
    "transposed join": lambda: JoinConvTranspose2d(3, 2, 5),
    "code": lambda: CodeConvTranspose2d(2, 3, 5),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_block_trains_as_if_its_bias_stood_in_front_of_the_norm(kind: str) -> None:
    torch.manual_seed(0)
    calls, batch = 3, 2
    block = Block(LAYERS[kind]()).double()
    nn.init.normal_(block.conv.bias, std=3.0)
    norm = nn.BatchNorm2d(5).double()
    x = torch.randn(calls * batch, 3, 4, 4, dtype=torch.float64)
    x = (x[..., 0, 0] if kind == "code" else x).requires_grad_()
    static = None
    if "join" in kind or kind == "code":
        static = torch.randn(batch, 2, *[8 if "doubling" in kind else 4] * 2, dtype=torch.float64)
        static = (static[..., 0, 0] if kind == "code" else static).requires_grad_()
    inputs = (x,) if static is None else (x, static)
    wanted = [*inputs, block.conv.weight]

    y = block(x, calls, static)
    expected = one_by_one(norm, block.conv(*inputs, *[calls] * (static is not None)), calls, 0.2)
    torch.testing.assert_close(y, expected)
    grad = torch.randn_like(y)
    torch.testing.assert_close(
        torch.autograd.grad(y, wanted, grad, retain_graph=True), torch.autograd.grad(expected, wanted, grad)
    )
    y.backward(grad)
    assert block.conv.bias.grad is None
    torch.testing.assert_close(block.norm.running_mean, norm.running_mean)
    torch.testing.assert_close(block.norm.running_var, norm.running_var)

    block.eval(), norm.eval()
    convolved = block.conv(*inputs, *[calls] * (static is not None))
    torch.testing.assert_close(block(x, calls, static), F.leaky_relu(norm(convolved), 0.2))
    with torch.no_grad():
        block.conv.bias.add_(1.0)
    assert not torch.allclose(block(x, calls, static), F.leaky_relu(norm(convolved), 0.2))
