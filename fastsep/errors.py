"""What users are told: the one exception that command lines turn into a line and exit status 2, and warnings."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


class UserError(Exception):
    """Something the user can mend: the message names the cause and the remedy in one line."""


class ToldElsewhere(Exception):  # noqa: N818 - no error of this process
    """This process ends because another one failed, which has told the user."""

    def __init__(self, status: int):
        super().__init__()
        self.status = status


_speaks = _warns = os.environ.get("LOCAL_RANK", "0") == "0"


def speaks() -> bool:
    """Whether this process tells what goes wrong in it: of those that fail alike before they know each other, one."""
    return _speaks


def speak(warnings: bool) -> None:
    """From now on this process does, and gives warnings or leaves them to another."""
    global _speaks, _warns
    _speaks, _warns = True, warnings


def tell(text: str) -> None:
    """Say on stderr why this process ends."""
    if _speaks:
        print(text, file=sys.stderr)


def is_memory_problem(error: BaseException) -> bool:
    """Whether Python, NumPy or PyTorch failed for want of memory."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
    )


def first_line(error: BaseException) -> str:
    """What an error says, in one line that is not too long for a message."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def warn(text: str) -> None:
    """Say in one line on stderr what went wrong without ending anything; above a progress bar where there is one."""
    from tqdm import tqdm

    if not _warns:
        return
    with suppress(OSError, ValueError):  # nobody reads it
        tqdm.write(f"warning: {text}", file=sys.stderr)
