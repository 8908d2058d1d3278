"""Reads HDF5 files that may be damaged or made to harm: numbers only, of the file itself, and what fits memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fastsep.data.formats.checksum import checksum
from fastsep.data.formats.guarded import guarded
from fastsep.data.formats.reading import LARGEST_RATIO, reading
from fastsep.data.residency import require_memory


@contextmanager
def open_hdf5(path: Path, what: str, remedy: str) -> Iterator[h5py.File]:
    """The open file; whatever the body raises becomes one line, see ``reading``."""
    with reading(path, what, remedy), h5py.File(path, "r") as file:
        yield file


def find_dataset(group: h5py.Group, name: str, kinds: str = "fiu", ndim: int | None = None) -> h5py.Dataset:
    """The data set ``name``, not yet read.

    Args:
        kinds: kinds of NumPy data types that it may have.
        ndim: axes that it must have.

    Raises:
        ValueError: there is none, it is of another kind, points into another file, or claims more than the file can
            hold.
    """
    if name not in group:
        raise ValueError(f"it holds no data set '{name}'")
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' is a link")
    data = group[name]
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"'{name}' is no data set")
    if data.is_virtual or data.external:
        raise ValueError(f"'{name}' lies in another file")
    if data.dtype.kind not in kinds:
        raise ValueError(f"'{name}' holds no numbers" if kinds == "fiu" else f"'{name}' has the type {data.dtype}")
    if ndim is not None and data.ndim != ndim:
        raise ValueError(f"'{name}' has the shape {data.shape}, not {ndim} axes")
    stored = data.id.get_storage_size()
    size = math.prod(data.shape) * data.dtype.itemsize  # exact: NumPy's would wrap around
    if size > stored * (LARGEST_RATIO if data.chunks else 1):
        raise ValueError(f"'{name}' of {size} bytes has {stored} in the file")
    return data


def read_dataset(group: h5py.Group, name: str, kinds: str = "fiu", ndim: int | None = None) -> np.ndarray:
    """All values of the data set ``name``.

    Raises:
        ValueError: as ``find_dataset``.
        UserError: it does not fit memory.
    """
    data = find_dataset(group, name, kinds, ndim)
    require_memory(data.size * data.dtype.itemsize, f"'{name}' of {group.file.filename}", "take a machine with more")
    if data.dtype.kind == "O":
        return guarded(lambda: data[...])
    values = data[...]
    expected = read_attribute(data, "crc32")
    if expected is not None and checksum(values) != expected:
        raise ValueError(f"the values of '{name}' do not fit their checksum")
    return values


def read_attribute(holder: h5py.Dataset | h5py.File, name: str) -> Any:
    """The value of an attribute, texts as ``str``; None where it is absent."""
    return read_attributes([(holder, name)])[0]


def read_attributes(wanted: Sequence[tuple[h5py.Dataset | h5py.File, str]]) -> list[Any]:
    """The values of attributes, as ``read_attribute`` gives them.

    Those of variable length lie in a heap without checksums, in which HDF5 may search for ever.
    """
    present = [(holder, name) for holder, name in wanted if name in holder.attrs]
    if any(holder.attrs.get_id(name).dtype.kind == "O" for holder, name in present):
        values = guarded(lambda: [_plain(holder.attrs[name]) for holder, name in present])
    else:
        values = [_plain(holder.attrs[name]) for holder, name in present]
    return [values[present.index(one)] if one in present else None for one in wanted]


def _plain(value: Any) -> Any:
    """Single values without their array, texts as ``str``."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(()).item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def row_checksums(data: h5py.Dataset) -> np.ndarray | None:
    """The checksum of each row of a large array (rows,) uint32, if the file has them; see ``hdf5_stream``.

    Raises:
        ValueError: they are missing or of another number.
    """
    name = read_attribute(data, "crc32")
    if name is None:
        return None
    sums = read_dataset(data.parent, name, "u", 1)
    if len(sums) != len(data):
        raise ValueError(f"{len(sums)} checksums for {len(data)} rows")
    return sums


def verify_rows(values: np.ndarray, sums: np.ndarray, first: int, what: str) -> None:
    """Raise ``ValueError`` if rows ``first`` and following do not fit their checksums."""
    bad = [row for row, value in enumerate(values, first) if checksum(value) != sums[row]]
    if bad:
        raise ValueError(f"{len(bad)} of its {what}s do not fit their checksums, {what} {bad[0]} first")
