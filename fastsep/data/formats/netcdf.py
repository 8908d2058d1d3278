"""Numbers of NetCDF files, read by HDF5 (NetCDF-4) or SciPy (NetCDF-3).

Only what is asked for is touched: the names of dimensions, for one, are in a part of NetCDF-4 files that has no
checksum and in which a damaged byte can make HDF5 search for ever. Which axis is which shows by the lengths.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fastsep.data.formats.checksum import checksum
from fastsep.data.formats.hdf5 import find_dataset, read_attributes
from fastsep.data.formats.optional import optional
from fastsep.data.formats.packing import Packing
from fastsep.data.formats.reading import reading
from fastsep.errors import UserError

_REMEDY = "fetch or make it again"
_PACKING = ("crc32", "_FillValue", "missing_value", "scale_factor", "add_offset")
_CLASSIC = (b"CDF\x01", b"CDF\x02")
LONG = b"CDF\x05"
"""How NetCDF-5 begins."""


@dataclass(frozen=True)
class Variable:
    """An array of a NetCDF file."""

    path: Path
    name: str
    shape: tuple[int, ...]
    units: str
    calendar: str

    def read(self, *index: slice | int) -> np.ndarray:
        """Its values, unpacked, NaN where the file says that there is none; float32 where that is exact enough.

        Packed numbers whose file declares no mark of absent values have the usual ones, the two least.

        Raises:
            UserError: they cannot be read, or do not fit their checksum.
        """
        with _opened(self.path) as file:
            data = _find(file, self.name)
            if tuple(data.shape) != self.shape:
                raise ValueError("it changed while it was read")
            raw = np.array(data[index])
            raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
            attributes = dict(zip(_PACKING, _attributes([(data, name) for name in _PACKING]), strict=True))
            expected = attributes["crc32"]
            if expected is not None and not index and checksum(raw) != expected:
                raise ValueError(f"'{self.name}' does not fit its checksum")
            return Packing.of(attributes, raw.dtype).unpack(raw)


def open_variables(path: Path, names: Sequence[str]) -> dict[str, Variable]:
    """Those of the variables ``names`` that the file has.

    Raises:
        UserError: it is no NetCDF file, or damaged; or SciPy is needed and not installed.
    """
    with _opened(path) as file:
        present = file if isinstance(file, h5py.File) else file.variables
        found = {name: _find(file, name) for name in names if name in present}
        texts = _attributes([(data, key) for data in found.values() for key in ("units", "calendar")])
        texts = [text if isinstance(text, str) else "" for text in texts]
        return {
            name: Variable(path, name, tuple(data.shape), *texts[2 * k : 2 * k + 2])
            for k, (name, data) in enumerate(found.items())
        }


def order_of_axes(shape: Sequence[int], lengths: dict[str, int]) -> tuple[str, ...]:
    """The names of the axes of an array of ``shape``: as they are in ``lengths`` if that fits, else as only they fit.

    Raises:
        ValueError: no order fits, or several do.
    """
    fitting = [order for order in itertools.permutations(lengths) if [lengths[name] for name in order] == list(shape)]
    if fitting and (len(fitting) == 1 or fitting[0] == tuple(lengths)):
        return fitting[0]
    sizes = ", ".join(f"{name} {size}" for name, size in lengths.items())
    raise ValueError(f"its shape {tuple(shape)} does not fit its axes ({sizes})")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with reading(path, "NetCDF file", _REMEDY):
        with open(path, "rb") as file:
            start = file.read(4)
        if start == LONG:
            raise UserError(f"{path} is NetCDF-5: convert it with nccopy -k nc4 {path.name} NEW")
        if start in _CLASSIC:
            classic = optional("scipy.io", "NetCDF-3").netcdf_file(path, mmap=True)
            try:
                yield classic
            finally:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # it stays mapped as long as its arrays are in use
                    classic.close()
        else:
            with h5py.File(path, "r") as file:
                yield file


def _find(file: Any, name: str) -> Any:
    if isinstance(file, h5py.File):
        return find_dataset(file, name)
    data = file.variables[name]
    if data.data.dtype.kind not in "fiu":
        raise ValueError(f"'{name}' holds no numbers")
    return data


def _attributes(wanted: list[tuple[Any, str]]) -> list[Any]:
    """Values of attributes, of texts as ``str``; None where one is absent."""
    if all(isinstance(data, h5py.Dataset) for data, _ in wanted):
        return read_attributes(wanted)
    values = [data._attributes.get(name) for data, name in wanted]
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
