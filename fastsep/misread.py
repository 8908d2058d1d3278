"""A command line that cannot be read, as one line: which word, what it should be, where the options are listed.

tyro draws a box of several lines around what it has to say. Here that box is wide enough for nothing to be wrapped, and
what it says becomes the message, in its first words where they are none that are known.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from fastsep.errors import UserError, speaks

T = TypeVar("T")
Problem = tuple[str, str]  # what is wrong, and what may help

_WIDE, _LEAST = "10000", 20  # columns
_HELP = ("-h", "--help")
_KINDS = {"FLOAT": "a number", "INT": "a whole number", "PATH": "a path", "STR": "a word"}
_SUGGESTIONS = 3


def read_words(
    read: Callable[[bool], T], words: Sequence[str] | None, prog: str, subcommands: Collection[str] = ()
) -> T:
    """What ``read`` makes of a command line, ``words``; its argument says whether it may print.

    Args:
        subcommands: words that may come first, each of which has a help of its own.

    Raises:
        UserError: it cannot be read.
    """
    words = sys.argv[1:] if words is None else words
    if any(word in _HELP for word in words):
        given = os.environ.get("COLUMNS", "")
        narrow = given.isdigit() and int(given) < _LEAST
        with _columns(str(_LEAST)) if narrow else contextlib.nullcontext():  # in less tyro finds no end
            return read(speaks())
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), _columns(_WIDE):
            result = read(True)
    except SystemExit as stop:
        if stop.code != 2 or not said.getvalue():
            raise
        if subcommands and words and not words[0].startswith("-") and words[0].replace("_", "-") not in subcommands:
            like = difflib.get_close_matches(words[0], subcommands, 1)
            remedy = f"try {like[0]}" if like else f"take one of {', '.join(subcommands)}"
            raise UserError(f"nothing takes the word {words[0]} here: {remedy}, or see {prog} --help") from None
        first = f"{prog} {words[0]}" if words and words[0] in subcommands else prog
        raise UserError(_message(said.getvalue(), prog, first)) from None
    if speaks():
        sys.stderr.write(said.getvalue())
    return result


@contextlib.contextmanager
def _columns(count: str) -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = count
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _message(text: str, prog: str, command: str) -> str:
    """One line of a box: what is wrong, what might be meant, and where to look: as the box says, or at ``command``."""
    text = "\n".join(filter(None, map(_unboxed, re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines())))
    problems = [problem for find in _PROBLEMS if (problem := find(text))]
    causes, remedies = zip(*(problems or [(" ".join(text.splitlines()[:2]), "")]), strict=True)
    listed = re.search(rf"{re.escape(prog)} [\w-]+ --help", text)
    help = f"see {listed[0] if listed else f'{command} --help'}"
    return f"{'; '.join(causes)}: {', or '.join(filter(None, (*remedies, help)))}"


def _unboxed(line: str) -> str:
    """A line without the box around it, which is of ASCII where the output has no other letters; nothing for a rule."""
    line = line.strip(" │|")
    title = line.strip("+-─╭╮╰╯ ")
    return title if line[:1] in ("+", "╭") or not title else line


def _wrong_value(text: str) -> Problem | None:
    found = re.search(r"Error parsing (\S+): (.*)", text)
    if not found:
        return None
    name, reason = found.groups()
    kind = re.search(rf"^{re.escape(name)} (.*)", text, re.MULTILINE)
    value = re.search(r"'([^']*)'\]?$", reason)
    if not kind or not value:
        return f"{name} takes another value ({reason})", ""
    several = re.fullmatch(r"\[(\w+) \[\1 \.\.\.\]\]", kind[1])
    kinds = [f"{_KINDS.get(several[1], several[1]).removeprefix('a ')}s"] if several else kind[1].split("|")
    return f"{name} takes {' or '.join(_KINDS.get(word, word) for word in kinds)}, not '{value[1]}'", ""


def _wrong_choice(text: str) -> Problem | None:
    found = re.search(r"invalid choice (.*) for argument '?(.*?)'?\. Expected one of \((.*?),?\)", text)
    if not found:
        return None
    words = re.findall("'([^']*)'", found[3])
    return f"{found[2]} takes {_listed(words, 'or')}, not {found[1]}", ""


def _no_value(text: str) -> Problem | None:
    found = re.search(r"Missing value for argument '?(.*?)'?\. Expected", text)
    return (f"{found[1]} needs a value", "") if found else None


def _nothing_chosen(text: str) -> Problem | None:
    found = re.search(r"^Missing subcommand\nExpected one of \{(.*?)\}", text, re.MULTILINE)
    return ("nothing is chosen", f"take one of {found[1]}") if found else None


def _missing(text: str) -> Problem | None:
    found = re.search(r"^Missing from .*:\n((?:.*\n)*?)(?:Unrecognized|For full|$)", text, re.MULTILINE)
    names = re.findall(r"^((?:--\S+ )?[A-Z|]+)$", found[1], re.MULTILINE) if found else []
    return (f"{_listed(names, 'and')} must be given", "") if names else None


def _unknown(text: str) -> Problem | None:
    """Words that nobody takes, and those like them; in front of the word that they belong to, too."""
    found = re.search(r"^Unrecognized (?:or misplaced )?options:(.*(?:\n.* \(applied to .*)*)", text, re.MULTILINE)
    if not found:
        return None
    after = text[found.end() :]
    words = re.findall(r"[^\s,]+", re.sub(r"\(applied to .*", "", found[1])) or after.partition("For full")[0].split()
    options = [word.split("=")[0] for word in words if word.startswith("-")]
    cause = f"there is no option {_listed(options, 'and')}" if options else f"nothing takes the word {words[0]}"
    choices = re.search(r"^Available subcommands: (.*)", text, re.MULTILINE)
    if choices:
        return f"{cause} here", f"take one of {choices[1]}" + (" first" if options else "")
    like = re.findall(r"^(--[\w-]+)", after.partition("Perhaps you meant:")[2], re.MULTILINE)
    return cause, f"try {_listed(list(dict.fromkeys(like))[:_SUGGESTIONS], 'or')}" if like else ""


def _listed(words: list[str], last: str) -> str:
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))


_PROBLEMS = (_wrong_value, _wrong_choice, _no_value, _nothing_chosen, _missing, _unknown)
