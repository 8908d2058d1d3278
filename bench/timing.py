"""How a region is timed: CUDA events on a GPU, a synchronised host clock on a CPU; medians and spread."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Seconds:
    """Times of repeated rounds, in seconds a call."""

    median: float
    p20: float
    p80: float
    min: float
    max: float
    rounds: int

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def summarise(times: list[float]) -> Seconds:
    """Median, 20th and 80th percentile and range of ``times``."""
    ordered = sorted(times)

    def at(q: float) -> float:
        return ordered[round(q * (len(ordered) - 1))]

    return Seconds(statistics.median(ordered), at(0.2), at(0.8), ordered[0], ordered[-1], len(ordered))


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has done everything asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Beside:
    """Calls something and keeps how long it took; for rounds in between those of something else.

    What a shared host gives and takes over minutes then meets both, and leaves their ratio alone.
    """

    def __init__(self, call: Callable[[], object], device: torch.device):
        self.call, self.device = call, device
        self.times: list[float] = []

    def __call__(self) -> None:
        begin = time.perf_counter()
        self.call()
        synchronise(self.device)
        self.times.append(time.perf_counter() - begin)


def measure(
    call: Callable[[], object],
    device: torch.device,
    rounds: int = 20,
    warmup: int = 2,
    budget: float = 10.0,
) -> Seconds:
    """Time ``call`` after ``warmup`` untimed calls.

    Args:
        rounds: at most so many timed rounds.
        budget: stop after so many seconds, but not before three rounds.
    """
    for _ in range(warmup):
        call()
    synchronise(device)
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < rounds and (len(times) < 3 or time.perf_counter() - begin < budget):
        if device.type == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1e3)
        else:
            start_time = time.perf_counter()
            call()
            times.append(time.perf_counter() - start_time)
    return summarise(times)


def start_memory(device: torch.device) -> int:
    """Forget earlier peaks of a GPU; returns what is held now, for ``peak_bytes``."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak_bytes(call: Callable[[], object], device: torch.device, start: int) -> int | None:
    """Most memory held while ``call`` runs; ``None`` where it cannot be known.

    On a GPU all that was allocated at most since ``start_memory`` gave ``start``: weights, optimiser and graphs too.
    On Linux what ``call`` adds to the resident set, from the kernel's high-water mark, which is reset first.
    """
    if device.type == "cuda":
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - start
    try:
        # What earlier calls freed goes back first: memory that the heap keeps for reuse would not show.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
    except (OSError, StopIteration, AttributeError):
        call()
        return None
    call()
    return max(_resident("VmHWM") - before, 0)


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024
