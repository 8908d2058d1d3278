"""Opening input files: whatever goes wrong becomes one line with the true cause and what helps against it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastsep.errors import UserError, first_line

LARGEST_RATIO = 1100
"""Of a compressed array: deflate cannot pack more than 1,032 bytes into one."""
_FRESH = 120.0  # seconds within which a damaged file may still be on its way
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def reading(path: Path, what: str, remedy: str, folder: bool = False) -> Iterator[None]:
    """Turn what the body raises while it reads ``path`` into one line.

    Only a file that the system delivers whole, yet makes no sense, is called damaged, with ``remedy``. One that is
    locked, not allowed or too large for memory is good, and its message says so.

    Args:
        what: what the file should be, "NetCDF file".
        remedy: what helps if it is not that.
        folder: it is a directory with many files.

    Raises:
        UserError: the body or the system failed.
    """
    try:
        _check_access(path, folder)
        yield
    except UserError:
        raise
    except Exception as error:  # decoders of damaged files raise every kind
        raise UserError(_explain(path, error, what, remedy)) from None


def _check_access(path: Path, folder: bool) -> None:
    """Ask the system itself before a decoder does, whose messages are less clear."""
    mode = os.stat(path).st_mode
    if folder and stat.S_ISDIR(mode):
        os.scandir(path).close()
        return
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is {'a directory' if stat.S_ISDIR(mode) else 'no regular file'}: give a file")
    with open(path, "rb") as file, suppress(OSError):
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(_locked(path)) from None


def _locked(path: Path) -> str:
    return f"{path} is open for writing in another program: wait until that is done, then give the same command again"


def _explain(path: Path, error: Exception, what: str, remedy: str) -> str:
    number = getattr(error, "errno", None)
    text = first_line(error, 150)
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist: {remedy}"
    if isinstance(error, PermissionError) or number in (errno.EACCES, errno.EPERM):
        return (
            f"{path} may not be read by this user: ask its owner for the right to (chmod a+r, a+x for its directories)"
        )
    if isinstance(error, BlockingIOError):
        return _locked(path)
    if number in _NO_LOCKS or "unable to lock file" in text:
        return f"{path} lies where files cannot be locked: set the environment variable HDF5_USE_FILE_LOCKING=FALSE"
    if "already open for write" in text:
        return (
            f"{path} is open for writing in another program, or was when that was stopped: wait until it is done; "
            "a file that nobody writes is released by h5clear -s"
        )
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return f"there is not enough memory to read {path}: free some, or raise the limit of this job"
    if number in (errno.EIO, errno.ESTALE):
        return f"the disk cannot deliver {path} ({os.strerror(number)}): try again, then have the disk looked after"
    return f"{path} is not a whole {what} ({text}): {_unless_fresh(path)}{remedy}"


def _unless_fresh(path: Path) -> str:
    """A file that somebody still copies or downloads looks damaged and is not."""
    with suppress(OSError):
        age = time.time() - path.stat().st_mtime
        if 0 <= age < _FRESH:
            return f"wait if it is still being written (it changed {age:.0f} s ago), else "
    return ""
