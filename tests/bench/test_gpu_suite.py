"""The GPU suite's warm-up: parts side by side, nothing kept but compiled code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from argparse import Namespace
from pathlib import Path

import pytest

from bench import gpu_suite
from bench.parts import read_tests

CHILD = """
import os, sys, time
from pathlib import Path
name, out, met = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
assert os.environ["XDG_CACHE_HOME"] == str(out)  # no choice made now is found later
(met / name).touch()
while len(list(met.iterdir())) < 2:  # none ends before both have begun
    time.sleep(0.01)
cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) / name
cache.mkdir(parents=True)
(cache / "code.py").touch()
(cache / "tiles.best_config").touch()
time.sleep(60 if name == "rollout" else 0)
"""


def test_parts_run_side_by_side_until_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met = tmp_path / "met"
    met.mkdir()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))

    def command(name: str, out: Path, limit: float, dry: bool) -> list[str]:
        return [sys.executable, "-c", CHILD, name, str(out), str(met)]

    monkeypatch.setattr(gpu_suite, "part_command", command)
    begin = time.monotonic()
    gpu_suite.warm_up(Namespace(warm_up=5.0, dry_run=True), ["ceilings", "rollout"])
    assert time.monotonic() - begin < 30  # the one that does not end is ended
    kept = sorted(str(path.relative_to(tmp_path / "cache")) for path in (tmp_path / "cache").rglob("*.*"))
    assert kept == ["ceilings/code.py", "rollout/code.py"]


def test_an_interruption_leaves_no_part_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "mark"
    child = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupt() -> None:
        while not mark.exists() or not mark.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(gpu_suite, "part_command", lambda *_: [sys.executable, "-c", child])
    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        gpu_suite.warm_up(Namespace(warm_up=50.0, dry_run=True), ["ceilings"])
    assert time.monotonic() - begin < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


PROGRESS = """tests/test_a.py::test_one PASSED [ 25%]
tests/test_a.py::test_two[a b] FAILED [ 50%]
tests/test_a.py::test_three SKIPPED (one CUDA device) [ 75%]
"""
SUMMARY = """FAILED tests/test_a.py::test_two[a b] - assert 0
======= 1 failed, 2 passed, 1 skipped in 3.00s =======
"""


def test_tests_that_failed_are_named_also_where_the_report_was_cut_off() -> None:
    cut_off = read_tests(PROGRESS)
    assert cut_off == {"passed": 1, "failed": 1, "skipped": 1, "failures": ["tests/test_a.py::test_two[a b]"]}
    whole = read_tests(PROGRESS + SUMMARY)
    failures = ["tests/test_a.py::test_two[a b] - assert 0"]
    assert whole == {"passed": 2, "failed": 1, "skipped": 1, "failures": failures}
