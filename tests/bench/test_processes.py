"""The table of steps by several processes, and the command that measures them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.reporting.process_tables import GROUP, table
from bench.rows import Row

ROOT = Path(__file__).parents[2]


def row(kind, processes, batch, median):
    seconds = {"median": median, "p20": median, "p80": median, "min": median, "max": median, "rounds": 3}
    case = {"preset": "wave100", "processes": processes, "batch": batch}
    return Row(GROUP, kind, "cpu", "fp32", case, seconds, items=batch)


def test_efficiency_is_of_sequences_a_second_and_process():
    rows = [row("strong", 1, 128, 0.4), row("strong", 2, 128, 0.25), row("weak", 1, 128, 0.4), row("weak", 2, 256, 0.5)]
    shares = [line.split("|")[-2].strip() for line in table(rows).splitlines()[2:]]
    assert shares == ["100%", "80%", "100%", "80%"]


@pytest.mark.slow
def test_processes_are_measured():
    command = [sys.executable, "-m", "bench.processes", "--dry", "--batch", "4", "--rounds", "3"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split("|")[2:4] for line in done.stdout.splitlines() if line.startswith("| wave100")] == [
        [" strong ", " 1 "], [" strong ", " 2 "], [" weak ", " 1 "], [" weak ", " 2 "]
    ]  # fmt: skip
