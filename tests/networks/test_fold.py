"""Folded batch norms forecast what unfolded ones do."""

from __future__ import annotations

import copy

import pytest
import torch
from network_cases import CONFIGS, OTHER_SIZES
from torch import nn

from fastsep.config import ModelConfig
from fastsep.model import SeparableModel
from fastsep.networks import fold_norms


def trained(config: ModelConfig) -> SeparableModel:
    """A model in evaluation mode whose batch norms all do something."""
    torch.manual_seed(0)
    model = SeparableModel(config).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


@pytest.mark.parametrize("name", [*CONFIGS, "dcgan16_skip", "vgg16_skip", "resnet_mlp", "sst_wide"])
def test_folded_model_forecasts_and_swaps_the_same(name: str) -> None:
    config = (CONFIGS | OTHER_SIZES)[name]
    model = trained(config)
    before = copy.deepcopy(model.state_dict())
    folded = fold_norms(model)
    one, other = torch.rand(2, 2, config.nt_cond, *config.shape, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(folded.forecast(one, 3), model.forecast(one, 3), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(folded.swap(one, other, 3), model.swap(one, other, 3), rtol=1e-10, atol=1e-12)
    left = [key for key, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(key.endswith("unused_norm") for key in left)
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_a_model_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.eval"):
        fold_norms(SeparableModel(CONFIGS["dcgan"]))
