"""Where a measurement was taken: device, versions, commit, date, and the device's own ceilings."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.timing import measure
from fastsep.machine.precision import cpu_has_bf16
from fastsep.runs import starts

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
THREADS = torch.get_num_threads()
"""As found at start: a device keeps its name whatever libraries set later."""
PACKAGES = ("torch", "triton", "numba", "numba-cuda", "numpy", "h5py")


def device_name(device: torch.device) -> str:
    """The processor as its maker calls it, with the number of threads for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    name = found.group(1).strip() if found else platform.processor() or platform.machine()
    return f"{name}, {THREADS} thread{'s' if THREADS > 1 else ''}"


def cpu_matrix_units() -> str:
    """What this CPU multiplies matrices with at best: AMX, AVX512-BF16, or the vectors that PyTorch found (AVX2)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    vectors = torch.backends.cpu.get_cpu_capability()
    return "AMX" if "amx_bf16" in flags else "AVX512-BF16" if "avx512_bf16" in flags else vectors


def slug(device: torch.device) -> str:
    """Name of the device's folder under ``bench/results``, for example ``nvidia-h200``."""
    name = device_name(device)
    if device.type == "cpu":
        name = f"cpu {name} {cpu_matrix_units()}"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def commit() -> str:
    """Short hash of the checkout, with ``+`` when what is measured differs from it."""
    return starts.commit("fastsep", "kernels", "bench/*.py")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def describe(device: torch.device) -> dict[str, Any]:
    """Everything a reader needs to judge or repeat a measurement on ``device``."""
    facts: dict[str, Any] = {
        "device": device_name(device),
        "slug": slug(device),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["memory_gib"] = round(properties.total_memory / 2**30, 1)
        facts["multiprocessors"] = properties.multi_processor_count
        facts["capability"] = f"{properties.major}.{properties.minor}"
        facts["cuda"] = torch.version.cuda
    else:
        facts["matrix_units"] = cpu_matrix_units()
        facts["threads"] = THREADS
    return facts


def ceilings(device: torch.device, small: bool = False) -> dict[str, float]:
    """What the device reaches at best, measured now on random data.

    Returns:
        ``matmul_fp32`` and ``matmul_bf16`` in FLOP/s (square product; 8192 a side on a GPU, 2048 on a CPU; bf16 only
        where the hardware has it), ``copy`` in bytes/s, read and written bytes both counted.
    """
    gpu = device.type == "cuda"
    side = 256 if small else 8192 if gpu else 2048
    result = {}
    dtypes = {"fp32": torch.float32}
    if gpu or cpu_has_bf16():
        dtypes["bf16"] = torch.bfloat16
    for name, dtype in dtypes.items():
        a, b, out = torch.randn(3, side, side, device=device, dtype=dtype).unbind()
        seconds = measure(partial(torch.mm, a, b, out=out), device, rounds=3 if small else 10).median
        result[f"matmul_{name}"] = 2 * side**3 / seconds
    numel = 2**20 if small else 2**30 if gpu else 2**27
    source = torch.randn(numel, device=device)
    target = torch.empty_like(source)
    seconds = measure(lambda: target.copy_(source), device, rounds=3 if small else 10).median
    result["copy"] = 2 * source.nbytes / seconds
    return result
