"""Arrays of HDF5 files, NetCDF-4 among them.

What a damaged byte can make HDF5 search for without end (names, attributes of variable length) is listed once by a
process of its own; numbers are read by this one. Numbers with checksums, HDF5's own (fletcher32) or those of this
program, are compared with them.
"""

from __future__ import annotations

import os
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fastsep.data.formats.guarded import guarded
from fastsep.data.formats.hdf5 import find_dataset, read_dataset
from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Array, Contents, Index
from fastsep.data.frames.hdf5_list import list_file
from fastsep.data.frames.npy import mark

_CACHE = 32 << 20  # bytes of unpacked chunks that HDF5 keeps for an array
_PIECE = 16 << 20


def open_hdf5(path: Path) -> Contents:
    """The arrays of an HDF5 file, with the names of their axes where it is NetCDF-4.

    Raises:
        UserError: it is damaged, or open for writing.
    """
    what = "NetCDF file" if path.suffix in (".nc", ".nc4", ".cdf") else "HDF5 file"
    with reading(path, what, REMEDY):
        handle = _Handle(path)
        try:
            listed = guarded(lambda: list_file(handle.file()))
            arrays = tuple(_array(handle, one, listed["netcdf"]) for one in listed["arrays"])
        except BaseException:
            handle.close()
            raise
        return Contents(path, what, arrays, handle.close, listed["groups"])


class _Handle:
    """A file, opened when it is needed."""

    def __init__(self, path: Path):
        self._path, self._mark = path, mark(os.stat(path))
        self._file = h5py.File(path, "r", rdcc_nbytes=_CACHE)

    def file(self) -> h5py.File:
        """The open file. Raises ValueError where another took its place."""
        if not self._file:
            if mark(os.stat(self._path)) != self._mark:
                raise ValueError("it changed while it was in use")
            self._file = h5py.File(self._path, "r", rdcc_nbytes=_CACHE)
        return self._file

    def close(self) -> None:
        self._file.close()


def _array(handle: _Handle, listed: dict[str, Any], netcdf: bool) -> Array:
    array = Array(
        listed["name"], listed["shape"], listed["dtype"], None, listed["dims"], listed["chunks"],
        listed["attributes"], netcdf, problem=listed["problem"],
    )  # fmt: skip
    return array if array.problem else replace(array, fetch=_Reader(handle, array).fetch)


class _Reader:
    """Reads parts of a data set, and its checksums when a row is first asked for."""

    def __init__(self, handle: _Handle, array: Array):
        self._handle, self._array = handle, array
        self._data: h5py.Dataset | None = None
        self._sums: np.ndarray | None = None
        self._checked: np.ndarray | None = None
        self._lock = threading.Lock()

    def fetch(self, index: Index) -> np.ndarray:
        with self._lock:
            if not self._data:  # never found, or its file closed
                self._data = self._find()
            if self._checked is None:
                self._checked = np.zeros(len(self._data), bool)
                self._sums = self._read_sums()
            for row in range(index[0].start, index[0].stop) if self._sums is not None else ():
                self._verify(row)
        return self._data[index]

    def _find(self) -> h5py.Dataset:
        data = find_dataset(self._handle.file(), self._array.name, "fiub")
        if data.shape != self._array.shape:
            raise ValueError("it changed while it was in use")
        return data

    def _read_sums(self) -> np.ndarray | None:
        """The checksums of its rows, if it has any; one of the whole is compared at once."""
        data, sums = self._data, self._array.attributes.get("crc32")
        if isinstance(sums, str):  # the data set that holds a number for each row
            found = read_dataset(data.parent, sums, "u", 1)
            if len(found) != len(data):
                raise ValueError(f"{len(found)} checksums for {len(data)} rows")
            return found
        if sums is not None and np.size(sums) == 1 and _crc(data, 0, len(data)) != int(np.asarray(sums).item()):
            raise ValueError(f"the values of '{self._array.name}' do not fit their checksum")
        return None

    def _verify(self, row: int) -> None:
        if not self._checked[row]:
            if _crc(self._data, row, row + 1) != self._sums[row]:
                raise ValueError(f"row {row} of '{self._array.name}' does not fit its checksum")
            self._checked[row] = True


def _crc(data: h5py.Dataset, first: int, stop: int) -> int:
    """CRC-32 of rows, as ``fastsep.data.formats.checksum`` has it, a piece at a time."""
    value = 0
    inner = data.dtype.itemsize * int(np.prod(data.shape[2:], dtype=np.int64))
    step = max(1, _PIECE // max(1, inner))
    for row in range(first, stop):
        length = data.shape[1] if data.ndim > 1 else 1
        for at in range(0, length, step):
            part = data[row, at : at + step] if data.ndim > 1 else data[row : row + 1]
            part = np.ascontiguousarray(part, part.dtype.newbyteorder("<"))
            value = zlib.crc32(memoryview(part.reshape(-1).view(np.uint8)), value)
    return value
