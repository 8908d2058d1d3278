"""The README's blocks about own data and about several processes work as copied, with less data and fewer steps."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastsep

HOME = Path(__file__).parents[1]
SHORTER = {
    "fastsep.gen_example": ["--size", "5", "--frames", "24"],
    "torchrun": ["--steps", "3", "--enc-hidden-size", "16", "--no-score"],
    "fastsep.train": ["--steps", "2", "--batch-size", "2", "--sst-filters", "2", "--test-windows", "4"],
}


def block(mark: str) -> str:
    """The code block of the README after a comment."""
    return re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", (HOME / "README.md").read_text(), re.DOTALL).group(1)


@pytest.mark.slow
def test_own_data_from_file_to_forecast(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    for line in block("own data").splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == ["python", "-m"], line
        command = [sys.executable, *words[1:], *SHORTER.get(words[2], [])]
        end = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert end.returncode == 0, end.stdout + end.stderr
    present = {path.name for path in tmp_path.iterdir()}
    assert {"plume.nc", "forecast.nc", "forecast.gif", "plume.pt2"} <= present
    names = {}
    exec(block("own program"), names)
    assert names["future"].shape == (4, 40, 1, 96, 64) and names["mixed"].shape == (2, 40, 1, 96, 64)
    np.testing.assert_allclose(names["again"], names["future"], rtol=1e-4, atol=1e-5)
    assert fastsep.load("runs/plume").scaling.units == ("g m-3",)


@pytest.mark.slow
def test_a_program_trains_and_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block("own training").replace("steps=300", "steps=3"), names)
    assert names["scores"]["mse"]["40"] > 0 and fastsep.load("runs/program").step == 3


@pytest.mark.slow
def test_two_processes_train_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(block("processes").splitlines()[1])
    assert words.pop(0) == "torchrun"
    command = [sys.executable, "-m", "torch.distributed.run", *words, *SHORTER["torchrun"]]
    environment = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    end = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert end.returncode == 0, end.stdout + end.stderr
    assert fastsep.load("runs/two").step == 3
