"""The CPU kernel as a good neighbour: the user's number of threads, and no place on disk that it cannot do without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels.wave import cpu, op, simulate

ROOT = Path(__file__).parents[2]
SMALL = "import torch; from kernels.wave import simulate; w = simulate(torch.ones(3) * 350, torch.ones(3), frames=9)"


def run(code: str, folder: Path = ROOT, **environment: str) -> str:
    """Standard output of a Python process that sees ``folder`` first."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    kept |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=kept, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def threads():
    """Puts PyTorch's number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_threads_is_pytorchs_and_stays(count, threads, monkeypatch):
    given = []

    def listen(*arguments) -> None:
        given.append(arguments[5])
        cpu.simulate_cpu(*arguments)

    monkeypatch.setattr(op, "simulate_cpu", listen)
    torch.set_num_threads(count)
    simulate(torch.ones(2), torch.ones(2), frames=2)
    assert given == [count] and torch.get_num_threads() == count


def test_any_number_of_threads_gives_the_same_bits(threads):
    c, f0 = torch.linspace(300, 400, 7), torch.linspace(1, 30, 7)
    results = []
    for count in (1, 2, 16):
        torch.set_num_threads(count)
        results.append(simulate(c, f0, frames=40, grid=16))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize("problem", [RuntimeError("no locator available"), OSError(28, "No space left on device")])
def test_without_a_cache_the_kernel_is_compiled_in_memory(problem, monkeypatch):
    asked = []

    def define(text: str, cache: bool) -> str:
        asked.append(cache)
        if cache:
            raise problem
        return "kernel"

    monkeypatch.setattr(cpu, "_define", define)
    assert cpu._compiled.__wrapped__() == "kernel"
    assert asked == [True, False]


def test_a_read_only_installation_and_no_home(tmp_path):
    for package in ("wave", "wave/__pycache__"):
        (tmp_path / "kernels" / package).mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "kernels/__init__.py", tmp_path / "kernels")
    for file in (ROOT / "kernels/wave").glob("*.py"):
        shutil.copy(file, tmp_path / "kernels/wave")
    (tmp_path / "kernels/wave/__pycache__").rmdir()
    (tmp_path / "kernels/wave/__pycache__").write_text("nothing can be made in here")
    nowhere = {name: "/dev/null/none" for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "TMPDIR")}
    assert run(f"{SMALL}; print(tuple(w.shape))", tmp_path, **nowhere) == "(3, 9, 64, 64)\n"


@pytest.mark.slow
def test_a_disk_that_takes_no_cache(tmp_path):
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
    )
    assert run(f"{limit} {SMALL}; print(tuple(w.shape))", NUMBA_CACHE_DIR=str(tmp_path)) == "(3, 9, 64, 64)\n"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_waiting_threads_soon_sleep_unless_the_user_says_how_they_wait():
    code = "import os, fastsep; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"
    assert run(code) == "passive 1000\n"
    assert run(code, OMP_WAIT_POLICY="active") == "active None\n"
    assert run(code, GOMP_SPINCOUNT="7") == "None 7\n"
