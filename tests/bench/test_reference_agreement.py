"""fastsep and the naive reference compute the same thing from the same weights: what makes their times comparable."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_cases import CONFIGS, OTHER_SIZES

from bench.reference.model import ReferenceModel, reference_objective
from bench.subjects import shrunk
from fastsep.config import Config, ObjectiveConfig
from fastsep.model import SeparableModel
from fastsep.objective import objective
from fastsep.presets import PRESETS


@pytest.mark.parametrize("preset", ["wave", "wave100", "mnist", "taxibj"])
def test_losses_gradients_and_forecasts_agree(preset: str) -> None:
    assert_agreement(shrunk(PRESETS[preset]()))


@pytest.mark.parametrize("name", ["sst", "sst_skip", *OTHER_SIZES])
def test_they_agree_on_frames_of_other_sizes(name: str) -> None:
    config = replace(PRESETS["sst"](), model=(CONFIGS | OTHER_SIZES)[name], objective=ObjectiveConfig(nt_pred=3))
    assert_agreement(replace(config, model=replace(config.model, res_hidden_size=16)))


def assert_agreement(config: Config) -> None:
    """Losses, gradients and forecasts in float64, from the same weights and draws."""
    torch.manual_seed(0)
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
        if theirs.grad is None:  # the norm that the published resnet holds and never calls
            assert ours.grad is None
            continue
        # A bias in front of a batch norm, left out by us, has none but rounding noise.
        gradient = torch.zeros_like(theirs) if ours.grad is None else ours.grad
        torch.testing.assert_close(gradient, theirs.grad, rtol=1e-7, atol=1e-10)

    cond = video[:, : config.model.nt_cond]
    with torch.no_grad():
        torch.testing.assert_close(fast.eval().forecast(cond, 7), naive.eval().forecast(cond, 7), rtol=1e-7, atol=1e-9)
