"""The layers that are timed alone are those of a step, and the library's form of each computes what ours does."""

from __future__ import annotations

import pytest
import torch

from bench.conv_layers import flops, layer_subject, layers
from bench.test_conv_layers import COUNTS
from bench.work import step_flops
from fastsep.presets import PRESETS

CPU = torch.device("cpu")


@pytest.mark.parametrize("preset", ["mnist", *(pytest.param(p, marks=pytest.mark.slow) for p in list(COUNTS)[1:])])
def test_layers_are_those_of_a_step(preset: str) -> None:
    found, config = layers(preset, 2), PRESETS[preset]()
    assert len(found) == COUNTS[preset]
    forward = sum(flops(layer) * (1 + len(layer.others)) for layer in found)
    whole = step_flops(config.model, config.objective, 2) / 3  # backward costs about twice as much
    assert 0.95 * whole < forward < 1.05 * whole


@pytest.mark.parametrize("preset", COUNTS)
def test_forms_of_a_layer_agree(preset: str) -> None:
    kinds = {(type(layer.conv), layer.norm is None, layer.thin): layer for layer in layers(preset, 2, True)}
    for layer in kinds.values():
        mine, inputs = layer_subject(preset, layer, "fastsep", False, 2, CPU, "fp32").keep
        mine.conv.bias.data.normal_()
        with torch.no_grad():
            expected, ours, padded = mine.by_pytorch(inputs), mine.ours(inputs), mine.by_pytorch(inputs, padded=True)
        scale = expected.abs().max().item()
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4 * scale, msg=layer.name)
        torch.testing.assert_close(padded, expected, rtol=1e-3, atol=1e-4 * scale, msg=layer.name)
