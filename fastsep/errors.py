"""What users are told: the one exception that command lines turn into a line and exit status 2, and warnings."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fastsep import launch

_OUT_OF_REACH = {
    errno.EACCES: "mend the rights, or give another path", errno.EPERM: "mend the rights, or give another path",
    errno.ENAMETOOLONG: "give another path", errno.ELOOP: "give another path",
    errno.EIO: "try again, then have the disk looked after", errno.ESTALE: "try again, then have the disk looked after",
}  # fmt: skip
"""What helps."""


class UserError(Exception):
    """Something the user can mend: the message names the cause and the remedy in one line."""

    seconds_after_cause = 0
    """More where it follows from what went wrong in another process."""


class ToldElsewhere(Exception):  # noqa: N818 - no error of this process
    """This process ends because another one failed, which has told the user."""

    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


@contextmanager
def paths_in_reach() -> Iterator[None]:
    """Within, a path that the system does not let us come to is bad input, whoever is the first to ask for it.

    Raises:
        UserError: there is one.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OUT_OF_REACH or not isinstance(error.filename, str | bytes | os.PathLike):
            raise
        path = os.fsdecode(error.filename)
        path = path if len(path) <= 200 else f"{path[:100]}...{path[-60:]}"
        remedy = _OUT_OF_REACH[error.errno]
        raise UserError(f"{path} cannot be reached ({os.strerror(error.errno)}): {remedy}") from None


_speaks = _warns = launch.is_first_here()


def speaks() -> bool:
    """Whether this process tells what goes wrong in it: of those that fail alike before they know each other, one."""
    return _speaks


def speak(warnings: bool) -> None:
    """From now on this process does, and gives warnings or leaves them to another."""
    global _speaks, _warns
    _speaks, _warns = True, warnings


def tell(text: str, later: int = 0) -> None:
    """Say on stderr why this process ends, and to torchrun, whose own report comes last (see ``leave_word``)."""
    if _speaks:
        print(text, file=sys.stderr)
    leave_word(text, later)


def leave_word(text: str, later: int = 0) -> None:
    """Tell torchrun, where it has started this process, why it ends: its report names the earliest as the cause.

    Args:
        later: seconds after the cause, of what follows from it.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        extra = {"py_callstack": text, "timestamp": str(int(time.time()) + later)}
        with suppress(OSError):
            with open(f"{path}.part", "w", encoding="utf-8") as file:
                json.dump({"message": {"message": text, "extraInfo": extra}}, file)
            os.replace(f"{path}.part", path)  # half of it would be torchrun's end, if this process is killed meanwhile


def is_memory_problem(error: BaseException) -> bool:
    """Whether Python, NumPy or PyTorch failed for want of memory."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came of, or came up while they were handled."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException, limit: int = 200) -> str:
    """What an error says, in at most ``limit`` characters of one line; its name where it says nothing."""
    lines = str(error).strip().splitlines()
    return " ".join(lines[0].split())[:limit] if lines else type(error).__name__


def warn(text: str) -> None:
    """Say in one line on stderr what went wrong without ending anything; above a progress bar where there is one."""
    from tqdm import tqdm

    if not _warns:
        return
    with suppress(OSError, ValueError):  # nobody reads it
        tqdm.write(f"warning: {text}", file=sys.stderr)
