"""Arrays as NumPy writes them (``.npy``): mapped or read from their place in the file, never unpickled."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from fastsep.data.formats.checksum import MARK, PAGE, unpack_checksums
from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Array, Contents, Index
from fastsep.data.frames.checked import Checked

MAGIC = npy_format.MAGIC_PREFIX
_HEADERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
    (3, 0): npy_format.read_array_header_2_0,  # the same with names of fields in UTF-8, which no number has
}


def open_npy(path: Path) -> Contents:
    """The one array of a ``.npy`` file, without a name.

    Raises:
        UserError: it is damaged, or shorter than its header says.
    """
    with reading(path, "NumPy file", REMEDY):
        with open(path, "rb") as file:
            shape, fortran, dtype = read_header(file)
            offset = file.tell()
        if dtype.hasobject:
            return Contents(path, "NumPy file", (Array("", shape, dtype),))
        fetch = Stored(path, offset, shape, dtype, fortran).fetch
        sums = _sums(path, offset, shape, dtype)
        if sums is not None:
            fetch = Checked("", shape, dtype, fetch, lambda: sums).fetch
        return Contents(path, "NumPy file", (Array("", shape, dtype, fetch),))


def _sums(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """The checksums of rows that follow an array which this program wrote; None where there are none."""
    if len(shape) < 2 or dtype.kind not in "fiub":
        return None
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(MARK)))
        if offset != PAGE and file.read() != MARK:
            return None
        file.seek(offset + math.prod(shape) * dtype.itemsize)
        return unpack_checksums(file.read(4 * shape[0] + PAGE), shape[0])


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type of the array that follows; ``file`` is left at its start.

    Raises:
        ValueError: it is no such header.
    """
    version = npy_format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its version is {version[0]}.{version[1]}")
    return _HEADERS[version](file)


class Stored:
    """An array that lies in order from ``offset`` of a file on.

    Raises:
        ValueError: the file is too short for it.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype, fortran: bool):
        self._path, self._offset, self._dtype = path, offset, dtype
        self._fortran = fortran and len(shape) > 1
        self._shape = shape[::-1] if self._fortran else shape  # as it lies in the file, the last axis together
        size, claimed = os.stat(path).st_size, math.prod(shape) * dtype.itemsize
        if size < offset + claimed:
            raise ValueError(f"its array of {claimed} bytes has {max(0, size - offset)} in the file")
        self._mark = mark(os.stat(path))

    def fetch(self, index: Index) -> np.ndarray:
        """A part of the array: read where it lies together, else mapped as far as it stretches."""
        if self._fortran:
            return self._part(index[::-1]).transpose()
        return self._part(index)

    def _part(self, index: Index) -> np.ndarray:
        axis, at = 0, 0
        for axis, part in enumerate(index):  # down to the first axis of which more than one is wanted
            at += part.start * math.prod(self._shape[axis + 1 :])
            if part.stop - part.start != 1:
                break
        shape = (index[axis].stop - index[axis].start, *self._shape[axis + 1 :])
        rest = (slice(None), *index[axis + 1 :])
        with open(self._path, "rb", buffering=0) as file:
            if mark(os.fstat(file.fileno())) != self._mark:
                raise ValueError("it changed while it was in use")
            offset = self._offset + at * self._dtype.itemsize
            if all(part.stop - part.start == size for part, size in zip(index[axis + 1 :], shape[1:], strict=True)):
                values = np.empty(shape, self._dtype)
                file.seek(offset)
                _fill(file, memoryview(values.reshape(-1).view(np.uint8)))
            else:
                values = np.array(np.memmap(file, self._dtype, "r", offset, shape)[rest])
        return values.reshape([part.stop - part.start for part in index])


def _fill(file: BinaryIO, buffer: memoryview) -> None:
    while len(buffer):
        count = file.readinto(buffer)
        if not count:
            raise ValueError("it ends too early")
        buffer = buffer[count:]


def mark(status: os.stat_result) -> tuple[int, ...]:
    """What tells a file from another in its place."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
