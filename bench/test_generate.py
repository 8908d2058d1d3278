"""Generation of WaveEq sequences (300 frames of 64x64)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import subjects_data
from bench.rows import Row


@pytest.mark.parametrize("way", ["reference", "reference compiled"], ids=lambda way: way.replace(" ", "-"))
def test_generate_reference(record: Callable, device: torch.device, way: str) -> None:
    row = Row("generate", way, device.type, "fp32", {"sequences": 1})
    record(lambda: subjects_data.generate(way, 1, device), row)


def test_generate_fastsep(record: Callable, device: torch.device) -> None:
    sequences = 300 if device.type == "cuda" else 16
    row = Row("generate", "fastsep", device.type, "fp32", {"sequences": sequences})
    record(lambda: subjects_data.generate("fastsep", sequences, device), row)
