"""Forecasts of 10, 95 and 400 frames in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import subjects
from bench.rows import Row

CPU_BATCH = {"mnist": 1, "wave": 8}
WAYS = [
    ("reference", "fp32"), ("reference compiled", "fp32"), ("fastsep", "fp32"), ("fastsep captured", "fp32"),
]  # fmt: skip


@pytest.mark.parametrize(("way", "precision"), WAYS, ids=lambda value: value.replace(" ", "-"))
@pytest.mark.parametrize("horizon", [10, 95, 400])
@pytest.mark.parametrize("preset", CPU_BATCH)
def test_forecast(record: Callable, device: torch.device, preset: str, horizon: int, way: str, precision: str) -> None:
    batch = 64 if device.type == "cuda" else CPU_BATCH[preset]
    row = Row("forecast", way, device.type, precision, {"preset": preset, "batch": batch, "horizon": horizon})
    absent = "CUDA graphs and kernels need a GPU" if device.type == "cpu" and "captured" in way else None
    record(lambda: subjects.forecast(preset, way, batch, horizon, device, precision), row, absent, "compiled" in way)
