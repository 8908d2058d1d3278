"""The benchmark command itself, on its quickest group."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_row_is_timed_beside_its_reference(tmp_path: Path) -> None:
    out = tmp_path / "benchmarks.json"
    command = [
        sys.executable, "-m", "pytest", "bench/test_data.py", "--benchmark-only", "-k", "wave100", "--seconds-a-row",
        "0.05", f"--benchmark-json={out}",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["extra_info"]["way"]: row["extra_info"] for row in json.loads(out.read_text())["benchmarks"]}
    assert set(rows) >= {"reference", "fastsep"}
    assert "reference_seconds" not in rows["reference"]
    ratio = rows["fastsep"]["reference_seconds"] / rows["reference"]["seconds"]["median"]
    assert 0.1 < ratio < 10  # the same call in both, on a machine that may be busy
    assert "times the naive reference" in done.stdout and "data/wave100" in done.stdout
