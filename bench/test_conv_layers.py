"""Each distinct convolutional layer of each preset alone, with its norm and activation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.conv_layers import layer_subject, layers
from bench.rows import Row
from bench.test_step import CPU_BATCH
from fastsep.presets import PRESETS

COUNTS = {"mnist": 9, "taxibj": 20, "chairs": 18, "sst": 26}
"""Distinct layers; known before any model is made."""
WAYS = [
    ("reference", "fp32"), ("reference", "bf16"), ("reference padded", "bf16"), ("reference compiled", "bf16"),
    ("fastsep", "fp32"), ("fastsep", "bf16"), ("fastsep compiled", "bf16"),
]  # fmt: skip


@pytest.mark.parametrize(("way", "precision"), WAYS, ids=lambda value: value.replace(" ", "-"))
@pytest.mark.parametrize("backward", [False, True], ids=["fwd", "fwd+bwd"])
@pytest.mark.parametrize(("preset", "number"), [(p, k) for p, count in COUNTS.items() for k in range(count)])
def test_conv_layers(
    record: Callable, device: torch.device, preset: str, number: int, backward: bool, way: str, precision: str
) -> None:
    batch = PRESETS[preset]().optim.batch_size if device.type == "cuda" else CPU_BATCH[preset]
    layer = layers(preset, batch)[number]
    case = {"batch": batch, "layer": layer.name, "pass": "fwd+bwd" if backward else "fwd"}
    row = Row(f"conv_block/{preset}", way, device.type, precision, case)
    absent = "only thin layers are padded" if "padded" in way and not layer.thin else None
    make = lambda: layer_subject(preset, layer, way, backward, batch, device, precision)  # noqa: E731
    record(make, row, absent, slow_to_compile="compiled" in way, seconds=0.5)
