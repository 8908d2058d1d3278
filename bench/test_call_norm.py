"""Batch norm per network call with LeakyReLU, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import subjects
from bench.rows import Row

WAYS = [
    ("reference", "fp32"), ("reference", "bf16"), ("reference compiled", "fp32"), ("reference compiled", "bf16"),
    ("fastsep", "fp32"), ("fastsep", "bf16"),
]  # fmt: skip


@pytest.mark.parametrize(("way", "precision"), WAYS, ids=lambda value: value.replace(" ", "-"))
def test_call_norm(record: Callable, device: torch.device, way: str, precision: str) -> None:
    batch = 128 if device.type == "cuda" else 8
    row = Row("call_norm", way, device.type, precision, {"batch": batch, "calls": 16})
    record(lambda: subjects.norm(way, batch, 16, device, precision), row, slow_to_compile="compiled" in way)
