"""Files that are whole or absent, and on the disk before anybody hears of them. Every command writes through here.

A file is written under a temporary name beside its own (``.NAME.part.SUFFIX``), flushed to the disk, renamed, and the
directory flushed too: a crash, a kill or a full disk at any instant leaves the old file or the new one whole.
A symbolic link is written through: it stays a link, and the file that it names is replaced. Permissions are those that
the umask leaves, whatever library writes.

    write_text(path, text)             a small file at once
    with whole_file(path) as file:     a stream of bytes
    with whole_path(path) as part:     for a library that wants a name to write to (HDF5, NetCDF, ``.npy``)
    make_directory(path)               a directory and those above it, durable
    write_problem(path, error)         what to tell the user about an ``OSError``

All of them raise ``OSError``; ``whole_path`` also where another process is writing the same file (``BlockingIOError``).
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fastsep import signals
from fastsep.errors import UserError
from fastsep.locks import lock, open_locked

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHT = (errno.EACCES, errno.EPERM)
_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file, open for writing bytes, that appears as ``path`` when the block ends well, and not at all otherwise.

    Two processes that write the same file do so one after the other.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    target = _target(path)
    part = _part_of(target)
    with signals.held():  # between opening and the first line of ``try``, too
        descriptor = open_locked(part)
        try:
            os.ftruncate(descriptor, 0)  # a killed process may have left the beginning of another
            with io.BufferedWriter(_Descriptor(descriptor), 1 << 20) as file, signals.released():
                yield file
            _settle(part, target, descriptor)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        finally:
            os.close(descriptor)


@contextmanager
def whole_path(path: Path, patience: float = 0.0) -> Iterator[Path]:
    """A name for a library to write a file to, which becomes ``path`` when the block ends well; close the file before.

    It has the suffix of ``path``, and the file exists already, empty, so that it has the permissions of the umask.

    Args:
        patience: seconds to wait for another process that writes the same file.

    Raises:
        OSError: it cannot be written (BlockingIOError: another process is writing it); what was there is untouched.
    """
    target = _target(path)
    part = _part_of(target)
    with signals.held(), lock(target.with_name(f".{target.name}.lock"), patience):
        with suppress(FileNotFoundError):
            part.unlink()
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        try:
            with signals.released():
                yield part
            descriptor = os.open(part, os.O_RDONLY)
            try:
                os.fchmod(descriptor, mode)  # some libraries write files that only their owner may read
                _settle(part, target, descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``path`` whole. Raises OSError."""
    with whole_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write ``path`` whole, as UTF-8. Raises OSError."""
    write_bytes(path, text.encode())


def require_writable(path: Path) -> None:
    """Raise OSError where ``path`` cannot be written, and make its directory: before what takes long, not after."""
    make_directory(path.parent)
    with lock(_part_of(_target(path))):
        pass


def write_inside(path: Path, data: bytes) -> None:
    """Write a file of a directory that nobody knows yet, on the disk before that is given its name. Raises OSError."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with io.BufferedWriter(_Descriptor(descriptor), 1 << 20) as file:
            file.write(data)
        _sync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, so that they survive a crash. Raises OSError."""
    path = Path(os.path.abspath(path))
    missing = [place for place in (path, *path.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        sync_directory(place.parent)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk, where its file system can. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def require_suffix(path: Path, suffixes: tuple[str, ...], option: str = "--out") -> None:
    """Raise UserError for a name that says that the file is of another format than the one to be written."""
    if path.suffix not in suffixes:
        raise UserError(f"{path} ends in none of {', '.join(suffixes)}: name such a file with {option}")


def write_problem(path: Path, error: BaseException, remedy: str = "") -> UserError:
    """The error of a write to ``path`` as one line: the true cause, where it is, and what helps.

    Args:
        remedy: what the command at hand accepts, as in "choose another --out".
    """
    place, code = path.parent, getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "") or type(error).__name__
    if code in _NO_SPACE:
        help = f"free some on the disk of {place}"
    elif code in _NO_RIGHT:
        help = f"mend the rights of {place}"
    elif isinstance(error, BlockingIOError):
        reason, help = "another process is writing it", "wait for that one"
    else:
        help = ""
    remedies = ", or ".join(filter(None, (help, remedy)))
    return UserError(f"cannot write {path} ({reason[:150]})" + (f": {remedies}" if remedies else ""))


def _target(path: Path) -> Path:
    """The file to replace: what a symbolic link names. Raises OSError for what is there and is no file, or
    is not to be written."""
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a device or a pipe, not a file", str(target))
    if not os.access(target, os.W_OK):  # to replace a file takes rights to its directory alone
        raise OSError(errno.EINVAL, "it is write-protected", str(target))
    return target


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.stem}.part{target.suffix}")


def _settle(part: Path, target: Path, descriptor: int) -> None:
    """Give a file that is complete its name, durably."""
    _sync(descriptor)
    os.replace(part, target)
    sync_directory(target.parent)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some file systems know no flushing of directories
            raise


def _write(descriptor: int, data: bytes | memoryview) -> int:
    written = os.write(descriptor, data)
    if not written and len(data):
        raise OSError(errno.EIO, "the disk takes no more bytes")
    return written


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` where the descriptor stands. Raises OSError; some of it may then be written."""
    rest = memoryview(data)
    while rest:
        rest = rest[_write(descriptor, rest) :]


class _Descriptor(io.RawIOBase):
    """A descriptor as a raw stream, which leaves it open: flushing and naming come after the last byte."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | memoryview) -> int:
        return _write(self._descriptor, data)
