"""Arrays of HDF5 files, NetCDF-4 among them.

What a damaged byte can make HDF5 search for without end (names, attributes of variable length) is listed once by a
process of its own; numbers are read by this one. Numbers with checksums, HDF5's own (fletcher32) or those of this
program, are compared with them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fastsep.data.formats.guarded import guarded
from fastsep.data.formats.hdf5 import find_dataset, read_dataset
from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Array, Contents, Index
from fastsep.data.frames.checked import Checked
from fastsep.data.frames.hdf5_list import list_file
from fastsep.data.frames.npy import mark

_CACHE = 4 << 20  # bytes of unpacked chunks that HDF5 keeps for each array of each open file
_PATIENCE, _MOST_PATIENCE = 10.0, 120.0  # seconds; a list takes milliseconds, of many thousands of arrays more
_SLOWLY = 10 << 20  # bytes a second of a file that is listed slowly


def open_hdf5(path: Path) -> Contents:
    """The arrays of an HDF5 file, with the names of their axes where it is NetCDF-4.

    Raises:
        UserError: it is damaged, or open for writing.
    """
    what = "NetCDF file" if path.suffix in (".nc", ".nc4", ".cdf") else "HDF5 file"
    with reading(path, what, REMEDY):
        handle = _Handle(path)
        try:
            patience = min(_PATIENCE + path.stat().st_size / _SLOWLY, _MOST_PATIENCE)
            listed = guarded(lambda: list_file(handle.file()), patience)
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
    if array.problem:
        return array
    reader = _Reader(handle, array)
    return replace(array, fetch=Checked(array.name, array.shape, array.dtype, reader.fetch, reader.sums).fetch)


class _Reader:
    """Reads parts of a data set as long as it stays what it was."""

    def __init__(self, handle: _Handle, array: Array):
        self._handle, self._array = handle, array
        self._data: h5py.Dataset | None = None

    def fetch(self, index: Index) -> np.ndarray:
        return self._find()[index]

    def sums(self) -> np.ndarray | None:
        """The checksums of its rows or of the whole, see ``Checked``."""
        sums, data = self._array.attributes.get("crc32"), self._find()
        if isinstance(sums, str) and sums in data.parent:  # the data set that holds a number for each row
            found = read_dataset(data.parent, sums, "u", 1)
            if len(found) != len(data):
                raise ValueError(f"{len(found)} checksums for {len(data)} rows")
            return found
        return sums.reshape(()) if isinstance(sums, np.ndarray) and sums.size == 1 else None

    def _find(self) -> h5py.Dataset:
        if not self._data:  # never found, or its file closed
            self._data = find_dataset(self._handle.file(), self._array.name, "fiub")
            if self._data.shape != self._array.shape:
                raise ValueError("it changed while it was in use")
        return self._data
