"""A training batch of 128 of every data set, on the device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import subjects_data
from bench.rows import Row


@pytest.mark.parametrize("way", ["reference", "reference compiled", "fastsep"], ids=lambda way: way.replace(" ", "-"))
@pytest.mark.parametrize("name", subjects_data.DATA)
def test_data(record: Callable, device: torch.device, name: str, way: str) -> None:
    row = Row(f"data/{name}", way, device.type, "fp32", {"batch": 128})
    absent = "batches put together in Python and NumPy do not compile" if "compiled" in way else None
    record(lambda: subjects_data.data(name, way, 128, device), row, absent)
