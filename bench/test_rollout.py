"""The latent rollout forward and backward, at the size of the wave presets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import subjects
from bench.rows import Row

WAYS = [
    ("reference", "fp32"), ("reference compiled", "fp32"), ("reference captured", "fp32"), ("fastsep", "fp32"),
    ("fastsep", "bf16"), ("fastsep captured", "bf16"), ("fastsep streaming", "bf16"), ("fastsep stationary", "bf16"),
]  # fmt: skip


@pytest.mark.parametrize(("way", "precision"), WAYS, ids=lambda value: value.replace(" ", "-"))
def test_rollout(record: Callable, device: torch.device, way: str, precision: str) -> None:
    row = Row("rollout", way, device.type, precision, {"batch": 128, "steps": 25, "pass": "fwd+bwd"})
    absent = None
    if device.type == "cpu" and way.split()[-1] in ("captured", "streaming", "stationary"):
        absent = "CUDA graphs and kernels need a GPU"
    record(lambda: subjects.rollout(way, 128, 25, device, precision=precision), row, absent)
