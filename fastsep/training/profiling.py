"""``--profile``: a trace of some steps after warm-up, what they spend their time in, and how long they wait."""

from __future__ import annotations

import gzip
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch

from fastsep.errors import UserError, warn
from fastsep.files import make_directory, whole_path, write_problem, write_text

FOLDER = "profile"
WARM_UP, TRACED = 10, 5
"""Steps before the traced ones, in which everything is compiled, chosen and captured; steps that are traced."""
LARGEST = 10
_COMMUNICATION = re.compile(r"nccl|gloo:|mpi:|ucc:|c10d::", re.IGNORECASE)


@dataclass(frozen=True)
class Event:
    """An operation on the device that trains, in microseconds from any origin."""

    name: str
    start: float
    end: float
    own: float
    """Time of its own, without that of operations within it."""

    @property
    def communicates(self) -> bool:
        return _COMMUNICATION.search(self.name) is not None


@dataclass(frozen=True)
class Summary:
    """Where the traced steps spent their time."""

    seconds: float
    """A step, from the host."""
    largest: list[tuple[str, float, float, float]]
    """Name, calls a step, milliseconds a step, share of all operations' own time; the largest first."""
    communication: float
    """Share of the time in which something was being communicated."""
    exposed: float
    """Share in which nothing was computed meanwhile."""
    idle: float
    """Share in which no operation ran."""


class Profiler:
    """Traces ``TRACED`` steps of this process after ``WARM_UP``; made before the first step, told of each one's end.

    Args:
        run: its folder ``profile/`` takes ``rankN.pt.trace.json.gz`` and ``rankN.md``.
        device: that trains.
        rank: of this process.
    """

    def __init__(self, run: Path, device: torch.device, rank: int = 0):
        self.folder = run / FOLDER
        self.device = device
        kinds = torch.profiler.ProfilerActivity
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it prints that it starts and stops
        activities = [kinds.CPU, *([kinds.CUDA] if device.type == "cuda" else [])]
        if device.type == "cuda":
            with torch.profiler.profile(activities=activities):  # kernels of graphs recorded before this have no names
                pass
        self._profile = torch.profiler.profile(activities=activities)
        self._rank = rank
        self._taken = 0
        self._begin = 0.0
        self._note = f"profile: nothing was traced, the training ended within {WARM_UP + TRACED} steps"

    def advance(self) -> None:
        """A step has ended; after the last traced one the files are written. A trace that cannot be costs a warning."""
        self._taken += 1
        if self._taken == WARM_UP:
            self._wait()
            self._profile.start()
            self._begin = time.perf_counter()
        elif self._taken == WARM_UP + TRACED:
            self._wait()
            seconds = time.perf_counter() - self._begin
            self._profile.stop()
            self._write(seconds)

    def close(self) -> str:
        """End a trace that was cut short, of which nothing is written; returns the line that says what was."""
        if WARM_UP <= self._taken < WARM_UP + TRACED:
            self._profile.stop()
            self._taken = WARM_UP + TRACED
        return self._note

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _write(self, seconds: float) -> None:
        """The trace, and what ``seconds`` of it were spent in."""
        name = f"rank{self._rank}"
        trace = self.folder / f"{name}.pt.trace.json.gz"  # the end of the name by which TensorBoard knows traces
        try:
            make_directory(self.folder)
            with whole_path(trace) as part:
                self._profile.export_chrome_trace(str(part))
                with gzip.open(part) as file:
                    events = read_events(json.load(file)["traceEvents"], self.device.type == "cuda")
            write_text(self.folder / f"{name}.md", to_text(summarise(events, seconds, TRACED), self.device))
        except OSError as error:
            warn(f"{write_problem(trace, error)}; training goes on")
            self._note = f"profile: {trace} was not written"
            return
        except (ValueError, KeyError, EOFError) as error:  # PyTorch writes into a temporary file, and says nothing
            why = f"{type(error).__name__}; is {gettempdir()} full?"
            warn(f"the trace for {trace} is not whole ({why}): training goes on")
            self._note = f"profile: {trace} was not written"
            return
        self._note = (
            f"profile: {self.folder} holds {name}.md (largest operations, communication, idle) and {trace.name} "
            "(open it at ui.perfetto.dev, or the folder in TensorBoard)"
        )


def require_steps(steps: int) -> None:
    """Raise UserError for a training that ends before the traced steps have."""
    if steps < WARM_UP + TRACED:
        raise UserError(
            f"--profile traces {TRACED} steps after {WARM_UP} others: set --steps to {WARM_UP + TRACED} or more"
        )


def read_events(trace: list[dict[str, Any]], on_gpu: bool) -> list[Event]:
    """What ran on the device, of the entries of a trace: a GPU's kernels and copies, or a CPU's operations.

    Of the annotations only gloo's are operations, which run in threads of their own.
    """
    kinds = ("kernel", "gpu_memcpy", "gpu_memset") if on_gpu else ("cpu_op",)
    events = []
    threads: dict[Any, list[list[Any]]] = {}
    for entry in trace:
        name, kind = entry.get("name", ""), entry.get("cat")
        if entry.get("ph") != "X":
            continue
        start, end = entry["ts"], entry["ts"] + entry["dur"]
        if kind == "user_annotation" and not on_gpu and _COMMUNICATION.search(name):
            events.append(Event(name, start, end, end - start))
        elif kind in kinds:
            threads.setdefault((entry["pid"], entry["tid"]), []).append([name, start, end, end - start])
    for operations in threads.values():
        around: list[list[Any]] = []
        for operation in sorted(operations, key=lambda operation: (operation[1], -operation[2])):
            while around and around[-1][2] <= operation[1]:
                around.pop()
            if around:
                around[-1][3] -= operation[2] - operation[1]
            around.append(operation)
        events += [Event(*operation) for operation in operations]
    return events


def summarise(events: Iterable[Event], seconds: float, steps: int) -> Summary:
    """Sums, and shares of the ``seconds`` that ``steps`` took."""
    events = list(events)
    own: dict[str, list[float]] = {}
    for event in events:
        own.setdefault(event.name, []).append(event.own)
    total = sum(map(sum, own.values())) or 1.0
    largest = sorted(own.items(), key=lambda item: -sum(item[1]))[:LARGEST]
    communicating = _covered(event for event in events if event.communicates)
    computing = _covered(event for event in events if not event.communicates)
    busy = _covered(events)
    microseconds = seconds * 1e6
    return Summary(
        seconds=seconds / steps,
        largest=[(name, len(us) / steps, sum(us) / steps / 1e3, sum(us) / total) for name, us in largest],
        communication=communicating / microseconds,
        exposed=(busy - computing) / microseconds,
        idle=max(1 - busy / microseconds, 0.0),
    )


def to_text(summary: Summary, device: torch.device) -> str:
    """The summary as a page of Markdown."""
    shares = (
        ("in communication", summary.communication),
        ("in communication with nothing computed meanwhile", summary.exposed),
        (f"idle: no operation ran on the {'GPU' if device.type == 'cuda' else 'CPU'}", summary.idle),
    )
    lines = [
        f"# {TRACED} steps after {WARM_UP}\n",
        f"{summary.seconds * 1e3:.3f} ms a step while traced, which costs time itself.\n",
        "| time | share |\n|---|---|",
        *(f"| {name} | {share:.1%} |" for name, share in shares),
        "\n| operation | calls a step | ms a step | share of all operations |\n|---|---|---|---|",
    ]
    for name, calls, ms, share in summary.largest:
        lines.append(f"| `{name[:100].replace('|', ' ')}` | {calls:g} | {ms:.3f} | {share:.1%} |")
    return "\n".join(lines) + "\n"


def _covered(events: Iterable[Event]) -> float:
    """Microseconds in which at least one of the events ran."""
    covered, until = 0.0, -float("inf")
    for start, end in sorted((event.start, event.end) for event in events):
        covered += max(end - max(start, until), 0.0)
        until = max(until, end)
    return covered
