"""The benchmark command itself, on its quickest group."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.subjects_data import DATA

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_row_is_timed_beside_its_reference(tmp_path: Path) -> None:
    out = tmp_path / "benchmarks.json"
    command = [
        sys.executable, "-m", "pytest", "bench/test_data.py", "--benchmark-only", "-k",
        "cpu and not cpu-wave-", "--seconds-a-row", "0.05", f"--benchmark-json={out}",
    ]  # fmt: skip
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # no worker of these
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [row["extra_info"] for row in json.loads(out.read_text())["benchmarks"]]
    # Nothing has to be fetched. Of the waves those of 100 pixels are the same, and sooner there.
    assert {row["group"] for row in found} == {f"data/{name}" for name in DATA} - {"data/wave"}
    rows = {row["way"]: row for row in found if row["group"] == "data/wave100"}
    assert set(rows) >= {"reference", "fastsep"}
    assert "reference_seconds" not in rows["reference"]
    ratio = rows["fastsep"]["reference_seconds"] / rows["reference"]["seconds"]["median"]
    assert 0.1 < ratio < 10  # the same call in both, on a machine that may be busy
    assert "times the naive reference" in done.stdout and "data/wave100" in done.stdout
