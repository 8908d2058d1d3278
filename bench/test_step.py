"""A training step of every published preset: naive reference, the reference compiled, fastsep."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import subjects
from bench.rows import Row
from fastsep.presets import PRESETS

CPU_BATCH = {"wave": 128, "wave100": 128, "mnist": 16, "chairs": 4, "taxibj": 8, "sst": 2}
WAYS = [
    ("reference", "fp32"), ("reference", "bf16"), ("reference compiled", "fp32"), ("reference compiled", "bf16"),
    ("fastsep", "fp32"), ("fastsep", "bf16"), ("fastsep compiled", "bf16"), ("fastsep captured", "bf16"),
]  # fmt: skip
QUICK_TO_COMPILE = {("wave100", "reference compiled")}


@pytest.mark.parametrize(("way", "precision"), WAYS, ids=lambda value: value.replace(" ", "-"))
@pytest.mark.parametrize("preset", CPU_BATCH)
def test_step(record: Callable, device: torch.device, preset: str, way: str, precision: str) -> None:
    gpu = device.type == "cuda"
    batch = PRESETS[preset]().optim.batch_size if gpu else CPU_BATCH[preset]
    row = Row(f"step/{preset}", way, device.type, precision, {"batch": batch})
    absent = "CUDA graphs need a GPU" if not gpu and "captured" in way else None
    slow = "compiled" in way and (preset, way) not in QUICK_TO_COMPILE
    record(lambda: subjects.step(preset, way, batch, device, precision), row, absent, slow)
