"""Writes HDF5 files as an ordinary stream of bytes, with checksums.

HDF5 keeps much of an open file in memory. Where the disk runs full under it, closing fails too, and the process may end
in a segmentation fault. Here HDF5 only lays the file out, in memory and without its large array; the bytes go to the
disk as those of any other file, and a full one is an ``OSError``.

The format is that of HDF5 1.10, which protects its own structure with checksums. Arrays carry theirs, a CRC-32 of the
values: small ones as the attribute ``crc32``, large ones as the data set that it names, a number for each row.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import numpy as np

from fastsep import signals
from fastsep.data.formats.checksum import checksum
from fastsep.files import whole_path
from fastsep.streams import write_at

_SUM = np.dtype("<u4")
_PAGE = 4096  # large arrays start at one, so that they can be mapped into memory


class Rows(NamedTuple):
    """A large array: written row by row, none of it in memory."""

    shape: tuple[int, ...]
    dtype: np.dtype


@contextmanager
def hdf5_stream(
    path: Path,
    attributes: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    name: str,
    rows: Rows,
    axes: Mapping[str, Sequence[str]] = MappingProxyType({}),
    notes: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Iterator[RowWriter]:
    """Write an HDF5 file of ``arrays`` and the large array ``name``, which appears when the block ends well.

    Args:
        axes: by the names of arrays, the names of those that hold the coordinates of each of their axes. With them the
            file is NetCDF-4, too.
        notes: attributes of single arrays, by their names.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
        ValueError: the block wrote another number of rows than ``rows`` has.
    """
    layout = _lay_out(attributes, arrays, name, rows, axes, notes)
    with whole_path(path) as part, open(part, "r+b", buffering=0) as file:
        for offset, data in layout.pieces:
            write_at(file.fileno(), memoryview(data), offset)
        out = RowWriter(file.fileno(), rows, layout.rows_at)
        yield out
        if out.written != rows.shape[0]:
            raise ValueError(f"{out.written} rows were written of {rows.shape[0]}")
        write_at(file.fileno(), memoryview(out.sums.tobytes()), layout.sums_at)
        file.truncate(layout.size)


class RowWriter:
    """Takes the rows of the large array: in their order, or each at its place from several threads at once."""

    def __init__(self, descriptor: int, rows: Rows, offset: int):
        self._descriptor, self._offset = descriptor, offset
        self._rows = rows
        self._next = 0
        self._lock = threading.Lock()
        self.written = 0
        self.sums = np.zeros(rows.shape[0], _SUM)

    def write(self, values: np.ndarray) -> None:
        """Append rows (count, ...) of the array's own data type. Raises OSError."""
        self.write_at(self._next, values)
        self._next += len(values)

    def write_at(self, first: int, values: np.ndarray) -> None:
        """Write rows ``first`` and following, each of which is written once. Raises OSError."""
        rows, end = self._rows, first + len(values)
        if (values.dtype, values.shape[1:]) != (rows.dtype, rows.shape[1:]):
            raise ValueError(f"rows of {values.dtype} {values.shape[1:]} do not fit {rows.dtype} {rows.shape[1:]}")
        if end > rows.shape[0]:
            raise ValueError(f"{end} rows were written of {rows.shape[0]}")
        if not values.size:
            return
        values = np.ascontiguousarray(values)
        self.sums[first:end] = [checksum(row) for row in values]
        with self._lock:  # the system would let them wait one for the other too, busily
            write_at(self._descriptor, memoryview(values).cast("B"), self._offset + first * values[0].nbytes)
            self.written += len(values)


class _Layout(NamedTuple):
    pieces: list[tuple[int, bytes]]
    """HDF5's own bytes: (offset, bytes), in their order."""
    rows_at: int
    sums_at: int
    size: int


def _lay_out(
    attributes: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    name: str,
    rows: Rows,
    axes: Mapping[str, Sequence[str]],
    notes: Mapping[str, Mapping[str, Any]],
) -> _Layout:
    image = Image()
    options = {"libver": ("v110", "v110"), "alignment_threshold": _PAGE, "alignment_interval": _PAGE}
    # HDF5 calls the image from C, where an exception of a signal would be lost.
    with signals.held(), h5py.File(image, "w", **options) as file:
        note(file, attributes)
        for other, values in arrays.items():
            file[other] = values
            file[other].attrs["crc32"] = np.uint32(checksum(values))
        rows_at = reserve(file, name, rows)
        sums_at = reserve(file, f"{name}_crc32", Rows(rows.shape[:1], _SUM))
        file[name].attrs["crc32"] = _fixed_text(f"{name}_crc32")
        for coordinate in {coordinate: None for names in axes.values() for coordinate in names}:
            file[coordinate].make_scale(coordinate)
        for other, coordinates in axes.items():
            for axis, coordinate in enumerate(coordinates):
                file[other].dims[axis].attach_scale(file[coordinate])
        for other, values in notes.items():
            note(file[other], values)
    return _Layout(image.pieces, rows_at, sums_at, image.size)


def note(holder: h5py.File | h5py.Dataset, attributes: Mapping[str, Any]) -> None:
    """Give a file or an array attributes, texts or numbers."""
    for key, value in attributes.items():
        holder.attrs[key] = _fixed_text(value) if isinstance(value, str) else value


def _fixed_text(text: str) -> np.ndarray:
    """A text of fixed length: others lie in a part of the file that has no checksums."""
    data = text.encode("utf-8", "replace")  # a path may hold bytes that are no text
    return np.array(data, h5py.string_dtype("utf-8", max(1, len(data))))


def reserve(file: h5py.File, name: str, rows: Rows) -> int:
    """Give an array its place in the file without writing it; the place's offset."""
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    options.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    options.set_obj_track_times(False)  # equal settings give equal bytes
    space = h5py.h5s.create_simple(rows.shape)
    made = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(rows.dtype, logical=True), space, options)
    return made.get_offset()


class Image:
    """What HDF5 writes, kept without the gaps; a file object as h5py wants it."""

    def __init__(self) -> None:
        self.size = 0
        self.pieces: list[tuple[int, bytes]] = []
        """(offset, bytes) in order; no two overlap."""
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: bytes | memoryview) -> int:
        start, end = self._at, self._at + len(data)
        kept = [(start, bytes(data))]
        for offset, old in self.pieces:
            kept.append((offset, old[: max(0, start - offset)]))
            kept.append((max(offset, end), old[max(0, end - offset) :]))
        self.pieces = sorted(piece for piece in kept if piece[1])
        self._at, self.size = end, max(self.size, end)
        return len(data)

    def readinto(self, buffer: memoryview) -> int:
        found = bytearray(len(buffer))
        for offset, data in self.pieces:
            skipped = max(0, self._at - offset)
            first = max(0, offset - self._at)
            part = data[skipped : skipped + max(0, len(found) - first)]
            found[first : first + len(part)] = part
        buffer[:] = found
        self._at += len(found)
        return len(found)

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        return self.size

    def flush(self) -> None:
        pass
