"""Cases that ops ask about, what makes a task of each, and the choices in force."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kernels.constant import constant_result


class Case(NamedTuple):
    """One direction of one op on one shape."""

    op: str
    direction: str
    """``forward``, ``backward``, or what else the op tells apart."""
    facts: tuple[tuple[str, Any], ...]
    """Sizes, dtype, layout: whatever the best choice may depend on. Numbers, texts and dtypes."""

    @property
    def name(self) -> str:
        """Readable, and different for different cases: ``thin_exit forward n=2048 c=64 dtype=bfloat16``."""
        return " ".join([self.op, self.direction, *(f"{k}={str(v).removeprefix('torch.')}" for k, v in self.facts)])


@dataclass(frozen=True)
class Task:
    """A case with tensors: what can be run, and what it should give.

    Attributes:
        candidates: name -> call that returns the outputs. The first is the library's own, which is kept in doubt.
        exact: the outputs in float32 (TF32 is off) or float64.
    """

    candidates: Mapping[str, Callable[[], Sequence[Tensor]]]
    exact: Callable[[], Sequence[Tensor]]


Maker = Callable[..., Task]
"""``make(direction, device, **facts)``: random inputs of the case's shape, and calls on them."""

_makers: dict[str, tuple[Maker, tuple[Path, ...]]] = {}
_in_force: dict[Case, str] = {}
_asked: list[dict[Case, None]] = []


def register(op: str, make: Maker, *others: Callable) -> None:
    """Say how to make a task of a case of ``op``.

    The files beside ``make``, and beside ``others`` that it calls, are the code that a choice depends on.
    """
    _makers[op] = make, tuple(dict.fromkeys(Path(inspect.getfile(function)).parent for function in (make, *others)))


@constant_result
def chosen(op: str, direction: str, **facts: Any) -> str | None:
    """Name of the candidate chosen for a case; ``None`` where none was: the op's own default then holds.

    The answer is a constant for ``torch.compile``: choices must be in force before anything is compiled.
    """
    case = Case(op, direction, tuple(facts.items()))
    for cases in _asked:
        cases[case] = None
    return _in_force.get(case)


@contextmanager
def asked_for() -> Iterator[dict[Case, None]]:
    """Collect, in order, the cases that ops ask about inside."""
    cases: dict[Case, None] = {}
    _asked.append(cases)
    try:
        yield cases
    finally:
        _asked.remove(cases)


def use(choices: Mapping[Case, str]) -> None:
    """Put ``choices`` in force for this process, instead of earlier ones."""
    _in_force.clear()
    _in_force.update(choices)


def can_choose(case: Case) -> bool:
    """Whether the case's op has registered a maker."""
    return case.op in _makers


def make_task(case: Case, device: torch.device) -> Task:
    """The task of ``case``: allocates its tensors on ``device``."""
    make, _ = _makers[case.op]
    return make(case.direction, device, **dict(case.facts))


def code_version(case: Case) -> str:
    """Changes whenever code or a table in the folders that the op was registered with does."""
    _, folders = _makers[case.op]
    return "-".join(map(_version_of, folders))


_CODE = (".py", ".cu", ".h", ".json")


@lru_cache
def _version_of(folder: Path) -> str:
    code = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.suffix in _CODE):
        code.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return code.hexdigest()[:12]
