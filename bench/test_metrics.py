"""MSE, PSNR and SSIM of forecasts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import subjects_data
from bench.rows import Row


@pytest.mark.parametrize("way", ["reference", "reference compiled", "fastsep"], ids=lambda way: way.replace(" ", "-"))
def test_metrics(record: Callable, device: torch.device, way: str) -> None:
    row = Row("metrics", way, device.type, "fp32", {"batch": 16, "frames": 10})
    record(lambda: subjects_data.metrics(way, 16, 10, device), row)
