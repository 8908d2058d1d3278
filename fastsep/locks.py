"""Locks that end with the process that holds them, however it ends: advisory locks of the kernel on a file.

A lock file that a killed process left behind is locked by nobody, and taken over. The file is removed when the lock is
released; whoever waits for it notices that it has another file in hand than the one of that name, and opens it anew.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastsep import signals
from fastsep.errors import warn

_PATIENCE = 10.0  # seconds; a small file is written in far less
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_unlocked: set[int] = set()
"""Devices whose file system has no locks."""


@contextmanager
def lock(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file ``path`` during the block; its text says who does (process and machine).

    On a file system without locks nothing is held, and a warning says so.

    Args:
        patience: seconds to wait for another process.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the file cannot be made.
    """
    with signals.held():  # the file goes again, wherever a signal comes
        descriptor = open_locked(path, patience)
        try:
            with suppress(OSError):  # it is locked even if the disk is too full to say by whom
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode())
            with signals.released():
                yield
        finally:
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)


def holder(path: Path) -> str:
    """Who holds the lock file ``path``, as far as it says."""
    try:
        return path.read_text(errors="replace").strip()[:100] or "another process"
    except OSError:
        return "another process"


def open_locked(path: Path, patience: float = _PATIENCE) -> int:
    """A descriptor of ``path``, made if absent, that is locked and still the file of that name.

    Args:
        patience: seconds to wait for another process.

    Raises:
        BlockingIOError: another process keeps it locked.
        OSError: it cannot be made.
    """
    deadline = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        try:
            free = _take(descriptor, path)
            if free and _is_named(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not free:
            if time.monotonic() >= deadline:
                raise BlockingIOError(errno.EAGAIN, "another process has it locked", str(path))
            with signals.released():
                time.sleep(0.01)


def _take(descriptor: int, path: Path) -> bool:
    """Whether the lock was free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _say_unlocked(descriptor, path)
    return True


def _say_unlocked(descriptor: int, path: Path) -> None:
    """Once for each file system."""
    device = os.fstat(descriptor).st_dev
    if device not in _unlocked:
        _unlocked.add(device)
        warn(f"the file system of {path.parent} has no locks: let no two processes write there at the same time")


def _is_named(descriptor: int, path: Path) -> bool:
    ours = os.fstat(descriptor)
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)
