"""The CUDA kernels: in the simulator, compiled for GPUs that are absent, and on a GPU where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

ROOT = Path(__file__).parents[2]
COMPUTE_CAPABILITIES = [(8, 0), (9, 0)]

SIMULATE = """
import numpy as np, torch
from numba import cuda
from kernels.wave import cuda as wave_cuda, op, simulate

def check(grid, rows, frames):
    c, f0 = torch.tensor([395.0, 310.0]).double(), torch.tensor([11.0, 27.0]).double()
    expected = simulate(c, f0, frames=frames, grid=grid).numpy()
    inputs = [
        (c * 1e-3).square().float().numpy(), (f0 * 1e-6).float().numpy(), op.stage_decay(frames, 1e-3),
        op.source_disc(grid).float().numpy().ravel(),
    ]
    on_chip, threads = wave_cuda.on_chip_kernel(grid, rows)
    for kernel, threads, more in (
        (on_chip, threads, []),
        (wave_cuda.device_memory_kernel, 7, [np.zeros((2, 6, (grid + 4) * grid), np.float32), grid]),
    ):
        out = np.full((2, frames, grid * grid), np.nan, np.float32)
        cuda.jit(kernel)[2, threads](*inputs, out, *more)
        error = np.abs(out.reshape(expected.shape) - expected).max() / np.abs(expected).max()
        assert error < 2e-6, (grid, rows, error)

check(12, 8, 8)
check(9, 2, 8)
check(5, 1, 4)
check(16, 8, 5)
"""


def test_kernels_equal_the_cpu_kernel_in_the_simulator() -> None:
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SIMULATE], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def compiled(cc: tuple[int, int], on_chip: bool) -> str:
    from numba import cuda

    from kernels.wave import cuda as wave_cuda

    if on_chip:
        kernel, threads = wave_cuda.on_chip_kernel(64, wave_cuda.ROWS)
        signature = wave_cuda.SIGNATURE
    else:
        kernel, threads = wave_cuda.device_memory_kernel, wave_cuda.MAX_THREADS
        signature = wave_cuda.SIGNATURE_DEVICE_MEMORY
    try:
        ptx, _ = cuda.compile(kernel, signature, cc=cc, abi="numba", device=False, launch_bounds=threads)
    except Exception as error:
        if isinstance(error, ImportError) or type(error).__name__ == "DynamicLibNotFoundError":
            pytest.skip(f"no NVVM to compile with: install numba-cuda[cu13] ({error})")
        raise
    return ptx


@pytest.mark.parametrize("on_chip", [True, False], ids=["on_chip", "device_memory"])
@pytest.mark.parametrize("cc", COMPUTE_CAPABILITIES, ids=["sm_80", "sm_90"])
def test_compiles_without_double_precision_and_spills(cc: tuple[int, int], on_chip: bool, tmp_path: Path) -> None:
    ptx = compiled(cc, on_chip)
    assert ".f64" not in ptx
    assert ".local" not in ptx
    source = tmp_path / "kernel.ptx"
    source.write_text(ptx)
    report = resources(source, f"sm_{cc[0]}{cc[1]}")
    assert "0 bytes spill stores, 0 bytes spill loads" in report
    registers = int(re.search(r"Used (\d+) registers", report)[1])
    if on_chip:  # two blocks of 512 threads share the 65,536 registers of a multiprocessor
        assert registers <= 64


def resources(source: Path, architecture: str) -> str:
    packages = Path(sysconfig.get_path("purelib"))
    candidates = [*packages.glob("nvidia/cu*/bin/ptxas"), shutil.which("ptxas"), "/usr/local/cuda/bin/ptxas"]
    reasons = []
    for ptxas in candidates:
        if ptxas and Path(ptxas).exists():
            command = [str(ptxas), "-v", f"-arch={architecture}", str(source), "-o", os.devnull]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if done.returncode == 0:
                return done.stderr + done.stdout
            assert "Unsupported .version" in done.stderr, done.stderr  # of another release than the compiler
            reasons.append(f"{ptxas}: {done.stderr.strip().splitlines()[0]}")
    pytest.skip("no ptxas takes this PTX: install nvidia-cuda-nvcc (" + ("; ".join(reasons) or "none found") + ")")


@pytest.mark.gpu
@pytest.mark.parametrize("grid", [9, 30, 64, 70, 128])
def test_gpu_equals_cpu(grid: int) -> None:
    from kernels.wave import simulate

    c = torch.linspace(300, 400, 5, dtype=torch.float64)
    f0 = torch.linspace(1, 30, 5, dtype=torch.float64)
    expected = simulate(c, f0, frames=200, grid=grid)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        out = torch.full((5, 200, grid, grid), float("nan"), device="cuda")
        simulate(c, f0, frames=200, grid=grid, device="cuda", out=out)
        ours = out.cpu()
    peaks = expected.abs().amax(dim=(1, 2, 3))
    assert ((ours - expected).abs().amax(dim=(1, 2, 3)) < 1e-5 * peaks).all()
