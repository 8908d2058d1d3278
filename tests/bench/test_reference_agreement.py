"""fastsep and the naive reference compute the same thing from the same weights: what makes their times comparable."""

from __future__ import annotations

import pytest
import torch

from bench.reference.model import ReferenceModel, reference_objective
from bench.subjects import shrunk
from fastsep.model import SeparableModel
from fastsep.objective import objective
from fastsep.presets import PRESETS


@pytest.mark.parametrize("preset", ["wave", "wave100", "mnist", "taxibj"])
def test_losses_gradients_and_forecasts_agree(preset: str) -> None:
    config = shrunk(PRESETS[preset]())
    naive, fast = ReferenceModel(config.model).double(), SeparableModel(config.model).double()
    with torch.no_grad():
        for ours, theirs in zip(fast.parameters(), naive.parameters(), strict=True):
            ours.copy_(theirs)
    video = torch.rand(3, config.window, *config.model.shape, dtype=torch.float64)
    end = torch.tensor(config.model.nt_cond + 1)

    slow_losses = reference_objective(naive, video, end, config.objective)
    fast_losses = objective(fast, video, end, config.objective)
    for one, other in zip(slow_losses[:5], fast_losses, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=0)
    slow_losses.total.backward()
    fast_losses.total.backward()
    for ours, theirs in zip(fast.parameters(), naive.parameters(), strict=True):
        # A bias in front of a batch norm, left out by us, has none but rounding noise.
        gradient = torch.zeros_like(theirs) if ours.grad is None else ours.grad
        torch.testing.assert_close(gradient, theirs.grad, rtol=1e-7, atol=1e-10)

    cond = video[:, : config.model.nt_cond]
    with torch.no_grad():
        torch.testing.assert_close(fast.eval().forecast(cond, 7), naive.eval().forecast(cond, 7), rtol=1e-7, atol=1e-9)
