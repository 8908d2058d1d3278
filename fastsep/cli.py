"""Command lines read into checked settings: what every ``python -m fastsep.COMMAND`` has in common."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

import docstring_parser
import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fastsep.misread import read_words
from fastsep.settings import bare

Positional = tyro.conf.Positional
T = TypeVar("T")

_EXIT_STATUS = "Exit status: 0 done, 2 bad input, 128 + N stopped by signal N (130 is Ctrl-C)."
_registry = ConstructorRegistry()


def parse(
    kind: type[T],
    command: str,
    arguments: Sequence[str] | None = None,
    examples: Sequence[str] = (),
    pairs: bool = False,
    subcommands: Collection[str] = (),
    **options: Any,
) -> T:
    """The settings ``kind`` from the command line of ``python -m fastsep.COMMAND``, checked.

    Args:
        arguments: instead of those of the process.
        examples: of arguments, for the help.
        pairs: what is on or off by default may be given either way (``--score``, ``--no-score``).
        subcommands: words that may come first, each of which has a help of its own.
        options: as ``tyro.cli`` takes them.
    """
    text = options.pop("description", None) or inspect.cleandoc(kind.__doc__ or "")
    prog = f"python -m fastsep.{command}"
    shown = "".join(f"\n$ {prog} {example}" for example in examples)  # the sign keeps tyro from joining the lines

    def read(shows: bool) -> T:
        with _registry, _joined_lines():
            return tyro.cli(
                kind,
                prog=prog,
                args=arguments,
                config=() if pairs else (tyro.conf.FlagCreatePairsOff,),
                console_outputs=shows,
                description=f"{text}{shown}\n\n{_EXIT_STATUS}",
                **options,
            )

    return read_words(read, arguments, prog, subcommands)


@contextmanager
def _joined_lines() -> Iterator[None]:
    """Within, tyro is told what a setting is in one line, as wide as it has to be; it keeps breaks before spaces."""
    parse = docstring_parser.parse_from_object

    def joined(of: Any) -> docstring_parser.Docstring:
        found = parse(of)
        for setting in found.params:
            setting.description = re.sub(r"\s*\n\s+", " ", setting.description or "")
        return found

    docstring_parser.parse_from_object = joined
    try:
        yield
    finally:
        docstring_parser.parse_from_object = parse


@_registry.primitive_rule
def _or_none(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Numbers and paths that may be left open are given as such, or as the word none."""
    kinds = get_args(bare(info.type))
    kind = next((kind for kind in (int, float, Path, str) if kind in kinds), None)
    if kind is None or set(kinds) != {kind, type(None)}:
        return None
    name = {int: "INT", float: "FLOAT", Path: "PATH", str: "STR"}[kind]
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{name}|none",
        instance_from_str=lambda words: None if words[0].lower() == "none" else kind(words[0]),
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )
