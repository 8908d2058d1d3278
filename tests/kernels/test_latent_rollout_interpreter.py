"""The Triton kernels under Triton's interpreter, which computes float32 and float16 products exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(*arguments):
    pytest.importorskip("triton")
    paths = [str(HERE.parents[1]), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(HERE / "_rollout_interpreted.py"), *arguments],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all agree" in done.stdout


def test_kernels_equal_the_reference():
    run()


@pytest.mark.slow
def test_kernels_equal_autograd_in_float64_at_odd_shapes():
    run("--all")
