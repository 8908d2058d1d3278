"""The invariance of S, whose derivative is written out by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fastsep.model import Static
from fastsep.objective import _invariance


def stacked(dtype: torch.dtype) -> Static:
    """Codes and two skip features of two windows."""
    torch.manual_seed(0)
    shapes = (2, 3, 5), (2, 3, 4, 6, 6), (2, 3, 2, 12, 12)
    code, *skips = (torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes)
    return Static(code, tuple(skips))


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_invariance_is_the_mean_squared_difference_of_code_and_skips(dtype: torch.dtype, rtol: float) -> None:
    static = stacked(dtype)
    joined = torch.cat([part.double().flatten(2) for part in static.parts], 2)  # (2, B, everything)
    expected = F.mse_loss(*joined)
    ours = _invariance(*static.unbind())
    assert ours.dtype == torch.promote_types(dtype, torch.float32)
    assert ours.item() == pytest.approx(expected.item(), rel=rtol)
    gradients = torch.autograd.grad(3.0 * ours, static.parts)
    for ours, theirs in zip(gradients, torch.autograd.grad(3.0 * expected, static.parts), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=rtol, atol=rtol * theirs.abs().max().item())


def test_invariance_traces_as_one_graph() -> None:
    static = stacked(torch.float32)
    compiled = torch.compile(lambda static: _invariance(*static.unbind()), backend="aot_eager", fullgraph=True)
    results = [
        (loss := form(static), *torch.autograd.grad(loss, static.parts))
        for form in (compiled, lambda s: _invariance(*s.unbind()))
    ]
    torch.testing.assert_close(*results)
