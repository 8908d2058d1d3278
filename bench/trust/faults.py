"""Faults: every operation on the files of a run fails in turn, and each time the run is whole and goes on.

The operations are those that ``fastsep.files``, ``fastsep.locks`` and the log make: open, write, truncate, flush,
rename, make a directory, remove. Each one fails once with each error, once for good, writes half of its bytes, or is
where the process is killed. ``python -m bench.trust faults`` tries them in whole trainings and keeps the counts.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.trust.runs import STEPS, attempt, evaluate, go_on, is_same, tiny
from fastsep.config import Config
from fastsep.runs.directory import create_run
from fastsep.training.trainer import Trainer

ERRORS = ("ENOSPC", "EIO", "EACCES")
KINDS = (*ERRORS, "ENOSPC for good", "short", "kill")
_ON_PATHS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir")
_ON_DESCRIPTORS = ("write", "fsync", "ftruncate")


@dataclass
class Layer:
    """Fails the operation number ``place`` below ``folder``; counts and names them all."""

    folder: Path
    place: int = -1
    kind: str = ""
    seen: list[str] = field(default_factory=list)
    _descriptors: set[int] = field(default_factory=set)

    @contextmanager
    def __call__(self) -> Iterator[Layer]:
        """Put it between the program and the operating system."""
        real = {name: getattr(os, name) for name in (*_ON_PATHS, *_ON_DESCRIPTORS, "close")}
        try:
            for name in _ON_PATHS:
                setattr(os, name, self._on_path(name, real[name]))
            for name in _ON_DESCRIPTORS:
                setattr(os, name, self._on_descriptor(name, real[name]))
            os.close = self._close(real["close"])
            yield self
        finally:
            for name, call in real.items():
                setattr(os, name, call)

    @property
    def is_struck(self) -> bool:
        """Whether the operation was reached."""
        return 0 <= self.place < len(self.seen)

    def _strikes(self, name: str) -> bool:
        self.seen.append(name)
        number = len(self.seen) - 1
        return number == self.place or (self.kind.endswith("for good") and 0 <= self.place < number)

    def _strike(self) -> None:
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, self.kind.split()[0], None)
        if code is not None:
            raise OSError(code, os.strerror(code))

    def _on_path(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *values: Any, **named: Any) -> Any:
            if not isinstance(path, (str, os.PathLike)) or not str(os.path.abspath(path)).startswith(str(self.folder)):
                return real(path, *values, **named)
            writes = name != "open" or values[0] & (os.O_WRONLY | os.O_RDWR)
            # A disk that is full still removes.
            spares = self.kind.startswith("ENOSPC") and name in ("unlink", "rmdir")
            if writes and self._strikes(f"{name} {Path(path).name}") and not spares:
                self._strike()
            result = real(path, *values, **named)
            if name == "open":
                self._descriptors.add(result)
            return result

        return call

    def _on_descriptor(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, *values: Any) -> Any:
            if descriptor in self._descriptors and self._strikes(name):
                if name == "write":
                    half = bytes(values[0])[: max(1, len(values[0]) // 2)]
                    if self.kind == "short":
                        return real(descriptor, half)
                    if not self.kind.endswith("for good"):
                        real(descriptor, half)  # what failed had begun
                self._strike()
            return real(descriptor, *values)

        return call

    def _close(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int) -> None:
            self._descriptors.discard(descriptor)
            real(descriptor)

        return call


@dataclass
class Counts:
    """What happened."""

    faults: int = 0
    ended_with_an_error: int = 0
    """Trainings that said in one line why they stopped; the others went on, or were killed."""
    operations: int = 0
    tracebacks: int = 0


def strike(kinds: tuple[str, ...], stride: int, place: Path, first: int = 0) -> Counts:
    """Fail every ``stride``-th operation of a training that starts, and of one that goes on from a checkpoint.

    Raises:
        AssertionError: a run lost its checkpoint, or ended elsewhere than without the fault.
    """
    counts, config = Counts(), tiny("wave100", place, 7)
    end = attempt(go_on(config, place / "whole"), place)
    assert end.status == 0, end.output
    end = attempt(lambda: _half(config, place / "half"), place)
    assert end.status == 0, end.output
    for starts in (True, False):
        length = _operations(config, starts, place)
        counts.operations += length
        for kind in kinds:
            for number in range(first % stride, length, stride):
                _one(config, starts, number, kind, place, counts)
    return counts


def _one(config: Config, starts: bool, number: int, kind: str, place: Path, counts: Counts) -> None:
    run, layer = _fresh(starts, place), Layer(place / "run", number, kind)
    end = attempt(_under(layer, go_on(config, run)), place)
    what = f"{kind} at operation {number} of a training that {'starts' if starts else 'goes on'}: {end}"
    counts.faults += 1
    counts.tracebacks += "Traceback" in end.output
    assert end.status in (0, 2, -signal.SIGKILL) and "Traceback" not in end.output, what
    counts.ended_with_an_error += end.status == 2
    if end.status == 2:
        assert end.output.count("error: ") == 1, what
    if run.exists():
        assert evaluate(run, place) or starts, f"{what}: no whole checkpoint is left"
    if end.status:
        again = attempt(go_on(config, run), place)
        assert again.status == 0 or "is complete" in again.output, f"{what}: cannot be continued: {again.output}"
    assert is_same(run, place / "whole"), f"{what}: it ended elsewhere"


def _operations(config: Config, starts: bool, place: Path) -> int:
    """How many there are without a fault."""
    run, layer = _fresh(starts, place), Layer(place / "run")

    def count() -> None:
        with layer():
            go_on(config, run)()
        (place / "count.json").write_text(json.dumps(layer.seen))

    end = attempt(count, place)
    assert end.status == 0, end.output
    return len(json.loads((place / "count.json").read_text()))


def _under(layer: Layer, work: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        with layer():
            work()

    return call


def _fresh(starts: bool, place: Path) -> Path:
    run = place / "run"
    shutil.rmtree(run, ignore_errors=True)
    if not starts:
        shutil.copytree(place / "half", run)
    return run


def _half(config: Config, run: Path) -> None:
    """A run that has come half way."""
    trainer = Trainer(config, run, False)
    trainer.total_steps = STEPS // 2
    create_run(run, config)
    trainer.fit()
