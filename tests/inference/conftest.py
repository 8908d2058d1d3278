"""A run of two channels, frames to forecast from, and the command that does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import run_command
from run_cases import HOLES, WITH_HOLES, lively_run


@pytest.fixture
def command(capsys):
    return lambda *arguments: run_command("forecast", *arguments, "--device", "cpu", capsys=capsys)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Of two channels t and s of 4x3 cells, one of which is missing."""
    return lively_run(tmp_path_factory.mktemp("runs") / "run", WITH_HOLES, HOLES)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """(5, 7, 2, 4, 3) in the data's units."""
    return HOLES.unscale(np.random.RandomState(0).rand(5, 7, 2, 4, 5).astype(np.float32))
