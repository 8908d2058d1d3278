"""What settings are: dataclasses whose fields say next to their type which values they take, checked whenever one is
made, be it by a command line, by Python or from ``config.json``.

    batch_size: Annotated[int, Range(1, 1_000_000), AT_RESUME] = 128

Nothing of a run is written before its settings are made, so a value out of range costs nothing.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from fastsep.errors import UserError

MOST = 1_000_000_000
"""What counts take at most where nothing else bounds them."""
LARGEST_FLOAT = 1e30
"""What fits into float32 with room for products."""


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``; ``above``: ``low`` itself is none of them. For tuples: of each item."""

    low: float
    high: float
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        low, high = (f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in (self.low, self.high))
        return f"above {low}, up to {high}" if self.above else f"from {low} to {high}"


@dataclass(frozen=True)
class Pattern:
    """Texts that the regular expression matches as a whole; ``meaning`` names them."""

    expression: str
    meaning: str


class AtResume:
    """Marks a setting of how, where and how long to run: resuming may change it."""


AT_RESUME = AtResume()

Count = Annotated[int, Range(1, MOST)]
NumPySeed = Annotated[int, Range(0, 2**32 - 1)]
Device = Annotated[str, Pattern(r"auto|cpu|cuda(:\d{1,3})?", "auto, cpu, cuda or cuda:N")]


@dataclass(frozen=True)
class Setting:
    """One field: its type without annotations, and what these say."""

    name: str
    type: Any
    range: Range | None = None
    pattern: Pattern | None = None
    at_resume: bool = False

    @property
    def flag(self) -> str:
        """Its name on a command line."""
        return "--" + self.name.replace("_", "-")

    def check(self, value: Any) -> Any:
        """``value`` as the field keeps it. Raises UserError for a value of another type or out of range."""
        if self.optional and value is None:
            return None
        checked = self._convert(value)
        if checked is None or not self._holds(checked):
            raise UserError(f"{self.name} is {_shown(value)}: set {self.flag} to {self.wanted}")
        return checked

    @property
    def optional(self) -> bool:
        """Whether ``None`` is a value."""
        return type(None) in get_args(self.type)

    @property
    def kind(self) -> Any:
        """The type of a value that is not ``None``; of an item for tuples."""
        kind = next(arg for arg in get_args(self.type) if arg is not type(None)) if self.optional else self.type
        return get_args(kind)[0] if get_origin(kind) is tuple else kind

    @property
    def several(self) -> bool:
        """Whether it is a tuple of values."""
        return get_origin(self.type) is tuple

    @property
    def wanted(self) -> str:
        """The values it takes, in words."""
        names = {int: "whole number", float: "number", Path: "path", str: "text", bool: "true or false"}
        if get_origin(self.kind) is Literal:
            *others, last = get_args(self.kind)
            text = f"{', '.join(others)} or {last}" if others else last
        elif self.pattern:
            text = self.pattern.meaning
        elif self.several:
            text = f"{names[self.kind]}s"
        else:
            text = names[self.kind] if self.kind is bool else f"a {names[self.kind]}"
        text = f"{text} {self.range}" if self.range else text
        return f"{text}, or none" if self.optional else text

    def _convert(self, value: Any) -> Any:
        """``value`` in the field's type, or None where it has another."""
        if not self.several:
            return _convert(self.kind, value)
        if isinstance(value, str) or not isinstance(value, list | tuple):
            return None
        items = tuple(_convert(self.kind, item) for item in value)
        return None if None in items else items

    def _holds(self, value: Any) -> bool:
        if self.range:
            return all(item in self.range for item in (value if self.several else (value,)))
        texts = (value if self.several else (value,)) if self.pattern else ()
        return all(re.fullmatch(self.pattern.expression, text) for text in texts)


class Settings:
    """The base of all settings' dataclasses. What must hold between fields, subclasses check after ``super()``."""

    def __post_init__(self) -> None:
        for setting in settings_of(type(self)):
            object.__setattr__(self, setting.name, setting.check(getattr(self, setting.name)))


@cache
def settings_of(cls: type) -> tuple[Setting, ...]:
    """The fields of a settings' dataclass, those that hold further dataclasses left out."""
    hints = get_type_hints(cls, include_extras=True)
    fields = (_setting(field.name, hints[field.name]) for field in dataclasses.fields(cls))
    return tuple(field for field in fields if not dataclasses.is_dataclass(field.type))


def _setting(name: str, hint: Any) -> Setting:
    notes = tuple(_notes(hint))
    found = {kind: next((note for note in notes if isinstance(note, kind)), None) for kind in (Range, Pattern)}
    return Setting(name, bare(hint), found[Range], found[Pattern], AT_RESUME in notes)


def _notes(hint: Any) -> Iterator[Any]:
    """What ``Annotated`` adds, within unions too."""
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
    for part in get_args(hint):
        yield from _notes(part) if get_origin(part) is not None else ()


def bare(hint: Any) -> Any:
    """The type without ``Annotated``."""
    if get_origin(hint) is Annotated:
        return bare(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(bare(part) for part in get_args(hint))]  # noqa: UP007 - made at run time
    return hint


def _convert(kind: Any, value: Any) -> Any:
    """``value`` as ``kind``, or None where it is something else; whole numbers are numbers, no text is."""
    if get_origin(kind) is Literal:
        return value if isinstance(value, str) and value in get_args(kind) else None
    if kind is Path:
        return as_path(value)
    if kind in (bool, str):
        return value if isinstance(value, kind) else None
    if isinstance(value, bool):
        return None
    if kind is int:
        return int(value) if isinstance(value, numbers.Integral) else None
    try:
        number = float(value) if isinstance(value, numbers.Real) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_path(value: Any) -> Path | None:
    """A path, with ~ for a home directory; None for what is none."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or "\0" in text:
        return None
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~somebody, who has no home here
        return None


def _shown(value: Any) -> str:
    """A value in a message."""
    try:
        text = f"'{value}'" if isinstance(value, str | os.PathLike) else repr(value)
    except ValueError:  # Python does not write numbers of thousands of digits
        return "a number of thousands of digits"
    return " ".join(text.split())[:100]
