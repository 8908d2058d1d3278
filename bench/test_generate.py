"""Generation of WaveEq sequences (300 frames of 64x64)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench import subjects_data
from bench.rows import Row

FILE_SEQUENCES = 100
"""Of 4.9 MB each."""


@pytest.mark.parametrize("way", ["reference", "reference compiled"], ids=lambda way: way.replace(" ", "-"))
def test_generate_reference(record: Callable, device: torch.device, way: str) -> None:
    row = Row("generate", way, device.type, "fp32", {"sequences": 1})
    record(lambda: subjects_data.generate(way, 1, device), row)


def test_generate_fastsep(record: Callable, device: torch.device) -> None:
    sequences = 300 if device.type == "cuda" else 16
    row = Row("generate", "fastsep", device.type, "fp32", {"sequences": sequences})
    record(lambda: subjects_data.generate("fastsep", sequences, device), row)


@pytest.mark.parametrize("way", ["dd", "fastsep", "fastsep pt"], ids=lambda way: way.replace(" ", "-"))
def test_generate_to_a_file(record: Callable, device: torch.device, way: str, tmp_path: Path) -> None:
    """On the disk of pytest's ``--basetemp``."""
    row = Row("wave_file", way, device.type, "fp32", {"sequences": FILE_SEQUENCES})
    record(lambda: subjects_data.wave_file(way, FILE_SEQUENCES, device, tmp_path), row)
