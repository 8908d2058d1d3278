"""Run every candidate of a task: those that agree with the exact result are timed, the others are out.

On a GPU a candidate is recorded as a CUDA graph, as training records its steps by default. What is compared is then the
device's work alone: launched one by one, a candidate of many small kernels is as slow as Python and loses to a slower
one.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.choose.cases import Task

TOLERANCE = 4.0
"""How many times the library's own error a candidate may have."""
ROUNDING = 1e-5
"""Relative error that is never held against a candidate: float32 sums in another order."""
MARGIN = 0.03
"""What a candidate must gain before it replaces the library: less is noise."""
ROUNDS = 15
SECONDS = 0.3
"""After so long the remaining rounds of a slow candidate are left out (three are always timed)."""
_COLD_BYTES = 256 * 2**20
"""Written between rounds: larger than any GPU's cache."""


Outputs = Callable[[], Sequence[Tensor]]


class Verdict(NamedTuple):
    """What came of a task."""

    use: str
    us: dict[str, float]
    """Median microseconds of the candidates that agree."""
    out: dict[str, str]
    """Why the others are out."""


class BrokenDeviceError(RuntimeError):
    """A candidate left the device unusable for this process. ``verdict`` is for the next one: it leaves it out."""

    def __init__(self, name: str, verdict: Verdict) -> None:
        super().__init__(f"{name} made the device unusable ({verdict.out[name]})")
        self.verdict = verdict


def judge(task: Task, device: torch.device, seconds: Callable[..., float] | None = None) -> Verdict:
    """Verify and time all candidates; the fastest is used, or the library unless another gains more than 3%.

    Args:
        seconds: ``(call, device) -> float``, how to time a call. Default: ``median_seconds``.

    Raises:
        BrokenDeviceError: a candidate broke the context of the GPU.
    """
    seconds = seconds or median_seconds
    library = next(iter(task.candidates))
    us: dict[str, float] = {}
    out: dict[str, str] = {}
    try:
        with exact_arithmetic():
            truth = list(task.exact())
        call = recorded(task.candidates[library], device)
        limits = [TOLERANCE * error + ROUNDING for error in _errors(call(), truth)]
        us[library] = 1e6 * seconds(call, device)
    except Exception as error:  # too large to compare, perhaps: nothing can be verified, so nothing is replaced
        return Verdict(library, {}, {library: _reason(error)})
    del call  # a graph holds its memory
    for name, candidate in list(task.candidates.items())[1:]:
        try:
            found = _try(candidate, device, truth, limits, seconds)
        except Exception as error:  # a compiler's refusal, no memory: the library is still there
            out[name] = _reason(error)
            if not _answers(device):
                raise BrokenDeviceError(name, _verdict(library, us, out)) from error
        else:
            if isinstance(found, str):
                out[name] = found
            else:
                us[name] = found
    return _verdict(library, us, out)


def _try(
    candidate: Outputs,
    device: torch.device,
    truth: Sequence[Tensor],
    limits: list[float],
    seconds: Callable[..., float],
) -> float | str:
    """Microseconds, or what is wrong with the outputs; the graph and its memory are gone by then."""
    call = recorded(candidate, device)
    wrong = _disagreement(call(), truth, limits)
    return wrong if wrong else 1e6 * seconds(call, device)


def _verdict(library: str, us: dict[str, float], out: dict[str, str]) -> Verdict:
    """The fastest of those that were timed, or the library."""
    best = min(us, key=us.__getitem__)
    return Verdict(best if us[best] < (1.0 - MARGIN) * us[library] else library, us, out)


def recorded(call: Outputs, device: torch.device) -> Outputs:
    """On a GPU ``call``, after a run of its own, as a graph: each further call replays it into the same outputs."""
    if device.type != "cuda":
        return call
    current, side = torch.cuda.current_stream(device), _side_stream(device)
    side.wait_stream(current)
    graph = torch.cuda.CUDAGraph()
    # The outer region brings the stream back, too, where recording fails.
    with torch.cuda.stream(side):
        call()  # compiles, and lets the libraries make their choices
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            outputs = call()
    current.wait_stream(side)

    def replay() -> Sequence[Tensor]:
        graph.replay()
        return outputs

    return replay


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all: on every stream that it meets cuBLAS takes memory of its own, and keeps it."""
    return torch.cuda.Stream(device)


def median_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Median time of ``call``, on a GPU with cold caches between events."""
    on_gpu = device.type == "cuda"
    cold = torch.empty(_COLD_BYTES // 4, dtype=torch.int32, device=device) if on_gpu else None
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 3 or (len(times) < ROUNDS and time.perf_counter() - begin < SECONDS):
        if cold is None:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        else:
            cold.zero_()
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            call()
            last.record()
            last.synchronize()
            times.append(first.elapsed_time(last) / 1e3)
    return statistics.median(times)


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """float32 as such, without TF32; cuDNN need not look for its fastest way."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = cudnn.benchmark = False
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = before


def _errors(got: Sequence[Tensor], truth: Sequence[Tensor]) -> list[float]:
    """Relative error of each output, in the norm of the whole."""
    errors = []
    for ours, exact in zip(got, truth, strict=True):
        if ours.shape != exact.shape:
            raise ValueError(f"shape {tuple(ours.shape)} instead of {tuple(exact.shape)}")
        difference = (ours.to(exact.dtype) - exact).norm() / exact.norm().clamp_min(1e-30)
        errors.append(difference.item())
    return errors


def _disagreement(got: Sequence[Tensor], truth: Sequence[Tensor], limits: list[float]) -> str | None:
    if not all(bool(torch.isfinite(output).all()) for output in got):
        return "not finite"
    errors = _errors(got, truth)
    for error, limit in zip(errors, limits, strict=True):
        if not error <= limit:
            return f"relative error {error:.1e}, allowed {limit:.1e}"
    return None


def is_wrong(reason: str) -> bool:
    """Whether a candidate is out because of what it computed."""
    return reason.startswith(("relative error", "not finite"))


def _answers(device: torch.device) -> bool:
    """Whether the device still does anything: an illegal access, once made, fails all that follows."""
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError:
            return False
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return "out of memory"
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:200]
