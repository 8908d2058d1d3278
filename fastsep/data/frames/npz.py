"""Archives of arrays as NumPy writes them (``.npz``): their members found, checked by their CRC-32, never unpickled.

A stored member is read in place, once it was read through to check it. A compressed one is unpacked whole, into memory
if it fits, else into a file that disk space backs.
"""

from __future__ import annotations

import math
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fastsep.data.formats.reading import LARGEST_RATIO, reading
from fastsep.data.frames.array import REMEDY, Array, Contents, Index
from fastsep.data.frames.npy import Stored, read_header
from fastsep.data.residency import host_array

_WHAT = "NumPy archive"
_PIECE = 1 << 20
_LOCAL_HEADER = 30


def open_npz(path: Path) -> Contents:
    """The arrays of an ``.npz`` file by name.

    Raises:
        UserError: it is damaged.
    """
    with reading(path, _WHAT, REMEDY), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        if len({info.filename for info in members}) < len(members):
            raise ValueError("two of its members have one name")
        return Contents(path, _WHAT, tuple(_locate(path, archive, info) for info in members))


def _locate(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    name = info.filename.removesuffix(".npy")
    with archive.open(info) as member:
        shape, fortran, dtype = read_header(member)
        header = member.tell()
    if dtype.hasobject:
        return Array(name, shape, dtype)
    if header + math.prod(shape) * dtype.itemsize != info.file_size:
        raise ValueError(f"'{name}' has another size than its header says")
    if info.compress_type == zipfile.ZIP_STORED:
        start = _start(archive, info)
        fetch = _InPlace(path, info, start, Stored(path, start + header, shape, dtype, fortran)).fetch
    else:
        if info.file_size > LARGEST_RATIO * info.compress_size:
            raise ValueError(f"'{name}' of {info.file_size} bytes has {info.compress_size} in the file")
        fetch = _Unpacked(path, info, header, shape, dtype, fortran).fetch
    return Array(name, shape, dtype, fetch)


def _start(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin."""
    archive.fp.seek(info.header_offset)
    header = archive.fp.read(_LOCAL_HEADER)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return info.header_offset + _LOCAL_HEADER + name + extra


class _InPlace:
    """A stored member, checked as a whole before the first part of it is given away."""

    def __init__(self, path: Path, info: zipfile.ZipInfo, start: int, stored: Stored):
        self._path, self._info, self._start, self._stored = path, info, start, stored
        self._checked, self._lock = False, threading.Lock()

    def fetch(self, index: Index) -> np.ndarray:
        with self._lock:
            if not self._checked:
                self._check()
                self._checked = True
        return self._stored.fetch(index)

    def _check(self) -> None:
        left, value = self._info.file_size, 0
        with open(self._path, "rb") as file:
            file.seek(self._start)
            while left and (piece := file.read(min(_PIECE, left))):
                left, value = left - len(piece), zlib.crc32(piece, value)
        if left or value != self._info.CRC:
            raise ValueError(f"'{self._info.filename}' does not fit its checksum")


class _Unpacked:
    """A compressed member, unpacked when the first part of it is asked for."""

    def __init__(self, path: Path, info: zipfile.ZipInfo, header: int, shape: tuple[int, ...], dtype, fortran: bool):
        self._path, self._info, self._header = path, info, header
        self._dtype, self._fortran = dtype, fortran
        self._shape = shape[::-1] if fortran else shape
        self._values: np.ndarray | None = None
        self._lock = threading.Lock()

    def fetch(self, index: Index) -> np.ndarray:
        with self._lock:
            if self._values is None:
                self._values = self._unpack()
        values = self._values.transpose() if self._fortran else self._values
        return np.array(values[index])

    def _unpack(self) -> np.ndarray:
        values = host_array(self._shape, self._dtype)
        buffer = memoryview(values.reshape(-1).view(np.uint8))
        with zipfile.ZipFile(self._path) as archive, archive.open(self._info) as member:
            member.read(self._header)
            at = 0
            while piece := member.read(_PIECE):  # to the very end, where the checksum is compared
                buffer[at : at + len(piece)] = piece
                at += len(piece)
        if at != len(buffer):
            raise ValueError(f"'{self._info.filename}' ends too early")
        return values
