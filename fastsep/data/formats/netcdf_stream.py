"""Writes NetCDF-4 files as an ordinary stream of bytes, with checksums; see ``hdf5_stream`` for why.

A NetCDF-4 file is an HDF5 file whose data sets name their axes by dimension scales (NetCDF-4 specification,
"Dimensions", docs.unidata.ucar.edu). Every variable carries the CRC-32 of its values as the attribute ``crc32``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from fastsep import signals
from fastsep.data.formats.checksum import checksum
from fastsep.data.formats.hdf5_stream import Image, Rows, note, reserve
from fastsep.files import whole_path

_NO_VALUES = "This is a netCDF dimension but not a netCDF variable.{:10d}"
"""Name of the scale of a dimension without coordinates, as the specification has it."""


@dataclass(frozen=True)
class Variable:
    """An array with named axes."""

    dims: tuple[str, ...]
    values: np.ndarray | None
    """None of a large one, which is float32 and written a part at a time."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def netcdf_stream(
    path: Path, attributes: Mapping[str, Any], sizes: Mapping[str, int], variables: Mapping[str, Variable]
) -> Iterator[LargeVariables]:
    """Write a NetCDF-4 file, which appears when the block ends well; large variables are written within.

    Args:
        attributes: of the file; texts or numbers.
        sizes: length of every dimension.
        variables: by name; one that is named as its only dimension holds that one's coordinates.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
        ValueError: the block wrote another number of values than a variable has.
    """
    image, places = _lay_out(attributes, sizes, variables, {})
    with whole_path(path) as part, open(part, "r+b") as file:
        out = LargeVariables(file, places, {name: _size(sizes, variables[name]) for name in places})
        yield out
        out.require_whole()
        image, again = _lay_out(attributes, sizes, variables, out.sums)  # at the same places, with checksums now
        assert again == places
        for offset, data in image.pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(image.size)


class LargeVariables:
    """Takes the values of large variables, each in the order of its axes."""

    def __init__(self, file: BinaryIO, places: Mapping[str, int], sizes: Mapping[str, int]):
        self._file = file
        self._at = dict(places)
        self._missing = dict(sizes)
        self.sums = dict.fromkeys(places, 0)
        """CRC-32 of what was written."""

    def write(self, name: str, values: np.ndarray) -> None:
        """Append values of any shape to a variable."""
        data = memoryview(np.ascontiguousarray(values, "<f4")).cast("B")
        self._file.seek(self._at[name])
        self._file.write(data)
        self._at[name] += len(data)
        self._missing[name] -= len(data)
        self.sums[name] = zlib.crc32(data, self.sums[name])

    def require_whole(self) -> None:
        """Raise ValueError unless every value was written."""
        wrong = {name: missing for name, missing in self._missing.items() if missing}
        if wrong:
            raise ValueError(f"bytes that were not written: {wrong}")


def _size(sizes: Mapping[str, int], variable: Variable) -> int:
    return 4 * int(np.prod([sizes[dim] for dim in variable.dims], dtype=np.int64))


def _lay_out(
    attributes: Mapping[str, Any], sizes: Mapping[str, int], variables: Mapping[str, Variable], sums: Mapping[str, int]
) -> tuple[Image, dict[str, int]]:
    """The file without its large variables, and where their values go."""
    image, places = Image(), {}
    options = {"libver": ("v110", "v110"), "track_order": True, "alignment_threshold": 4096, "alignment_interval": 4096}
    # HDF5 calls the image from C, where an exception of a signal would be lost.
    with signals.held(), h5py.File(image, "w", **options) as file:
        note(file, attributes)
        for number, (dim, size) in enumerate(sizes.items()):
            variable = variables.get(dim)
            if variable is None:
                file.create_dataset(dim, (size,), ">f4").make_scale(_NO_VALUES.format(size))
            else:
                file.create_dataset(dim, data=variable.values).make_scale(dim)
            file[dim].attrs["_Netcdf4Dimid"] = np.int32(number)
        for name, variable in variables.items():
            if variable.values is None:
                shape = tuple(sizes[dim] for dim in variable.dims)
                places[name] = reserve(file, name, Rows(shape, np.dtype("<f4")))
            elif name not in sizes:
                file.create_dataset(name, data=variable.values)
            if name not in sizes:
                for axis, dim in enumerate(variable.dims):
                    file[name].dims[axis].attach_scale(file[dim])
            note(file[name], variable.attributes)
            value = sums.get(name, 0) if variable.values is None else checksum(variable.values)
            file[name].attrs["crc32"] = np.uint32(value)
    return image, places
