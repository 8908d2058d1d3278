"""Results of a long run, one JSON object a line, so that a run can be cut off anywhere and continued."""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.rows import Row, read_lines
from bench.subjects import Subject
from bench.timing import Seconds, measure, peak_bytes, start_memory, synchronise


def append(path: Path, value: dict[str, Any]) -> None:
    """Add one line and see it to the file."""
    with path.open("a") as file:
        file.write(json.dumps(value, default=str) + "\n")


STOPPED = "stopped at its limit"
"""Status of a part that was ended for want of time."""


class Recorder:
    """Times subjects of one part of the suite and writes each row as soon as it exists.

    What an earlier run finished is not done again. A row is announced before it runs: one that ended its process is
    noted as such when the part starts anew, and passed over; one that was ``STOPPED`` is begun again.

    Args:
        path: the results file.
        part: name of the part.
        device: where the part runs.
        dry: miniature: few rounds.
        deadline: ``time.monotonic()`` after which no row is started.
    """

    def __init__(self, path: Path, part: str, device: torch.device, dry: bool, deadline: float):
        self.path, self.part, self.device, self.dry, self.deadline = path, part, device, dry, deadline
        lines = [line for line in read_lines(path) if line.get("part") == part]
        self._done = {line["key"] for line in lines if line["kind"] in ("row", "note")}
        self._timed = {line["key"] for line in lines if line["kind"] == "row" and "seconds" in line}
        self._started: set[str] = set()
        for line in lines:
            if line["kind"] == "start":
                self._started.add(line["key"])
            elif line["kind"] == "part" and line["status"] == STOPPED:
                self._started.clear()  # what was under way is no worse for that
        self.left_out = 0

    def time(
        self,
        row: Row,
        make: Callable[[], Subject],
        rounds: int = 30,
        budget: float = 3.0,
        note: tuple[str, Callable[[Subject], dict[str, Any]]] | None = None,
    ) -> Seconds | None:
        """Time the subject that ``make()`` returns; failures become rows that say so.

        ``note``: a name, and what to record under it of the subject once it is timed.
        """
        if note is not None and row.key in self._timed:  # an earlier run may have had no time left for it
            self.note(note[0], partial(_look_at, make, note[1]))
        if not self._begin(row.key):
            return None
        begin, seconds, start = time.perf_counter(), None, start_memory(self.device)
        subject = None
        try:
            subject = make()
            subject.call()
            synchronise(self.device)
            row = subject.row
            row.info["first_call_seconds"] = round(time.perf_counter() - begin, 3)
            measured = measure(subject.call, self.device, 2 if self.dry else rounds, 1, 0.1 if self.dry else budget)
            row.peak_bytes = peak_bytes(subject.call, self.device, start)
            seconds = {name: t if name == "rounds" else t / subject.times for name, t in measured.to_json().items()}
            row.seconds = seconds
            seconds = Seconds(**seconds)
        except Exception as error:  # one way that fails must not take the others along
            row.absent = f"failed: {type(error).__name__}: {first_line(error)}"
            traceback.print_exc()
        self._write("row", row.key, row.to_json())
        if note is not None and seconds is not None:
            name, look = note
            self.note(name, partial(look, subject))
        subject = None  # its memory goes before the next one's is taken
        self._clean()
        return seconds

    def note(self, name: str, make: Callable[[], dict[str, Any]]) -> None:
        """Record whatever ``make()`` returns under ``name``."""
        if not self._begin(name):
            return
        try:
            value = make()
        except Exception as error:
            value = {"failed": f"{type(error).__name__}: {first_line(error)}"}
            traceback.print_exc()
        self._write("note", name, value)
        self._clean()

    def time_left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def _begin(self, key: str) -> bool:
        if key in self._done:
            return False
        if key in self._started:
            self._write("note", key, {"failed": "ended its process"})
            return False
        if self.time_left() < 0:
            self.left_out += 1
            return False
        append(self.path, {"kind": "start", "part": self.part, "key": key})
        print(f"[{self.part}] {key}", flush=True)
        return True

    def _write(self, kind: str, key: str, value: dict[str, Any]) -> None:
        append(self.path, {"kind": kind, "part": self.part, "key": key, **value})
        self._done.add(key)

    def _clean(self) -> None:
        gc.collect()
        torch.compiler.reset()
        if self.device.type == "cuda":
            # Raises where a kernel broke the CUDA context: the part then starts anew in a fresh process.
            torch.cuda.synchronize()
            torch.cuda.empty_cache()


def _look_at(make: Callable[[], Subject], look: Callable[[Subject], dict[str, Any]]) -> dict[str, Any]:
    """What ``look`` finds in a subject that has run."""
    subject = make()
    subject.call()
    return look(subject)


def first_line(error: Exception) -> str:
    """The first line of an error's message, at most 200 characters."""
    return (str(error).strip().splitlines() or [""])[0][:200]
