"""Arrays of NetCDF-3 files, read by SciPy."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fastsep.data.formats.netcdf import LONG
from fastsep.data.formats.optional import optional
from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Array, Contents, Index
from fastsep.errors import UserError

_WHAT = "NetCDF file"


def open_netcdf3(path: Path) -> Contents:
    """The variables of a NetCDF-3 file.

    Raises:
        UserError: it is damaged, is NetCDF-5, or SciPy is not installed.
    """
    with reading(path, _WHAT, REMEDY):
        with open(path, "rb") as start:
            if start.read(4) == LONG:
                raise UserError(f"{path} is NetCDF-5: convert it with nccopy -k nc4 {path.name} NEW")
        file = optional("scipy.io", "NetCDF-3").netcdf_file(path, mmap=True)
        variables = dict(file.variables)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it stays mapped as long as its arrays are in use
            file.close()
        return Contents(path, _WHAT, tuple(_array(path, name, one) for name, one in variables.items()))


def _array(path: Path, name: str, variable: Any) -> Array:
    size = os.stat(path).st_size

    def fetch(index: Index) -> np.ndarray:
        if os.stat(path).st_size != size:  # what is mapped and gone ends the process
            raise ValueError("it changed while it was in use")
        values = np.array(variable.data[index])
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    attributes = {key: _plain(value) for key, value in variable._attributes.items()}
    dtype = np.dtype(variable.data.dtype).newbyteorder("=")
    return Array(name, tuple(variable.data.shape), dtype, fetch, variable.dimensions, None, attributes, True)


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else np.asarray(value)
