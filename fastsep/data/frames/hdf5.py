"""Arrays of HDF5 files, NetCDF-4 among them.

What a damaged byte can make HDF5 search for without end (names, attributes of variable length) is listed once by a
process of its own; numbers are read by this one. Numbers with checksums, HDF5's own (fletcher32) or those of this
program, are compared with them.
"""

from __future__ import annotations

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

_CACHE = 32 << 20  # bytes of unpacked chunks that HDF5 keeps for an array
_PIECE = 16 << 20


def open_hdf5(path: Path) -> Contents:
    """The arrays of an HDF5 file, with the names of their axes where it is NetCDF-4.

    Raises:
        UserError: it is damaged, or open for writing.
    """
    what = "NetCDF file" if path.suffix in (".nc", ".nc4", ".cdf") else "HDF5 file"
    with reading(path, what, REMEDY):
        file = h5py.File(path, "r", rdcc_nbytes=_CACHE)
        try:
            listed = guarded(lambda: list_file(file))
            arrays = tuple(_array(file, one, listed["netcdf"]) for one in listed["arrays"])
        except BaseException:
            file.close()
            raise
        return Contents(path, what, arrays, file.close, listed["groups"])


def _array(file: h5py.File, listed: dict[str, Any], netcdf: bool) -> Array:
    array = Array(
        listed["name"], listed["shape"], listed["dtype"], None, listed["dims"], listed["chunks"],
        listed["attributes"], netcdf, problem=listed["problem"],
    )  # fmt: skip
    return array if array.problem else replace(array, fetch=_Reader(file, array).fetch)


class _Reader:
    """Reads parts of a data set, and its checksums when a row is first asked for."""

    def __init__(self, file: h5py.File, array: Array):
        self._file, self._array = file, array
        self._data: h5py.Dataset | None = None
        self._sums: np.ndarray | None = None
        self._checked = np.zeros(0, bool)
        self._lock = threading.Lock()

    def fetch(self, index: Index) -> np.ndarray:
        with self._lock:
            if self._data is None:
                self._data = self._find()
            rows = range(index[0].start, index[0].stop)
            for row in rows if self._sums is not None else ():
                self._verify(row)
        return self._data[index]

    def _find(self) -> h5py.Dataset:
        data = find_dataset(self._file, self._array.name, "fiub")
        if data.shape != self._array.shape:
            raise ValueError("it changed while it was in use")
        sums = self._array.attributes.get("crc32")
        if isinstance(sums, str):  # a number for each row, in a data set of this name
            self._sums = read_dataset(data.parent, sums, "u", 1)
            if len(self._sums) != len(data):
                raise ValueError(f"{len(self._sums)} checksums for {len(data)} rows")
        elif sums is not None and np.size(sums) == 1 and _crc(data, 0, len(data)) != int(np.asarray(sums).item()):
            raise ValueError(f"the values of '{self._array.name}' do not fit their checksum")
        self._checked = np.zeros(len(data), bool)
        return data

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
