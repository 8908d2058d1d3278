"""Bytes of large files: to their places, from several threads at once, on their way to the disk while others are made.

A file that is flushed when it is complete waits for the disk then. Here every piece starts on its way as soon as it is
written, so that the last flush finds little left.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_PIECE = 1 << 19  # larger ones can cost several times as much: Linux looks for memory that lies together


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of ``data``, bytes, at ``offset`` of a file. Raises OSError."""
    begin, end = offset, offset + len(data)
    while offset < end:
        written = os.pwrite(descriptor, data[offset - begin :][:_PIECE], offset)
        if not written:
            raise OSError(errno.EIO, "the disk takes no more bytes")
        _start_flush(descriptor, offset, written)
        offset += written


@contextmanager
def stream_inside(path: Path) -> Iterator[BinaryIO]:
    """A new file of a directory that nobody knows yet; ``sync_inside`` sees it to the disk later. Raises OSError."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with io.BufferedWriter(_Pieces(descriptor), _PIECE) as file:
            yield file
    finally:
        os.close(descriptor)


class _Pieces(io.RawIOBase):
    """A descriptor as a raw stream, which leaves it open."""

    def __init__(self, descriptor: int):
        self._descriptor, self._at = descriptor, 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | memoryview) -> int:
        write_at(self._descriptor, memoryview(data), self._at)
        self._at += len(data)
        return len(data)


def sync_inside(path: Path) -> None:
    """Wait until a file is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _start_flush(descriptor: int, offset: int, length: int) -> None:
    """Start the disk on a part of a file without waiting.

    Linux begins to write what is said to be needed no more, and keeps it in memory until it is written.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # it is advice
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
