"""Files that forecasts are written to, a few sequences at a time: HDF5, ``.npy``, ``.npz``, NetCDF.

Letters: N sequences, h forecast horizon, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastsep.data.formats.hdf5_stream import Rows, hdf5_stream
from fastsep.data.formats.netcdf_stream import netcdf_stream
from fastsep.data.frames.source import Source
from fastsep.files import require_suffix, whole_path
from fastsep.inference.continued import continue_source

NAME = "forecast"
"""Of the array (N, h, C, *space)."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal forecasts give equal bytes

Write = Callable[[np.ndarray], None]
"""Appends the forecasts (b, h, C, *space) float32 of the next sequences."""


@dataclass(frozen=True)
class Plan:
    """What will be written."""

    shape: tuple[int, ...]
    """(N, h, C, *space)."""
    names: tuple[str, ...]
    """Of the channels; () where they have none."""
    units: tuple[str, ...]
    """Of the channels, "" where the data do not say; () where none do."""
    facts: dict[str, Any]
    """Texts and numbers that say which forecast this is."""
    source: Source
    """What it continues."""
    every: int
    """Frames of ``source`` from one frame of the forecast to the next."""

    @property
    def size(self) -> int:
        """Of the numbers, in bytes."""
        return 4 * int(np.prod(self.shape, dtype=np.float64))


def output_of(out: Path) -> Callable[[Path, Plan], AbstractContextManager[Write]]:
    """How files like ``out`` are written.

    Raises:
        UserError: its suffix stands for no format.
    """
    require_suffix(out, tuple(_OUTPUTS))
    return _OUTPUTS[out.suffix]


@contextmanager
def _hdf5(out: Path, plan: Plan) -> Iterator[Write]:
    facts = plan.facts | {name: json.dumps(value) for name, value in _about(plan).items()}
    with hdf5_stream(out, facts, {}, NAME, Rows(plan.shape, np.dtype("<f4"))) as rows:
        yield rows.write


@contextmanager
def _npy(out: Path, plan: Plan) -> Iterator[Write]:
    with whole_path(out) as part, open(part, "r+b") as file:
        file.write(_header(plan.shape))
        yield _numbers_to(file)
        _require(file.tell(), len(_header(plan.shape)) + plan.size)


@contextmanager
def _npz(out: Path, plan: Plan) -> Iterator[Write]:
    with whole_path(out) as part, open(part, "r+b") as file, zipfile.ZipFile(file, "w") as archive:
        for name, values in _about(plan).items():
            buffer = io.BytesIO()
            np.save(buffer, np.array(values, np.str_))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), buffer.getvalue())
        with archive.open(zipfile.ZipInfo(f"{NAME}.npy", _EPOCH), "w", force_zip64=True) as member:
            member.write(_header(plan.shape))
            yield _numbers_to(member)
        _require(archive.getinfo(f"{NAME}.npy").file_size, len(_header(plan.shape)) + plan.size)


@contextmanager
def _netcdf(out: Path, plan: Plan) -> Iterator[Write]:
    names, units = plan.names, plan.units
    file = continue_source(plan.source, plan.shape, names, units, plan.every)
    with netcdf_stream(out, plan.facts, file.sizes, file.variables) as variables:

        def write(frames: np.ndarray) -> None:
            if len(file.written) == 1:
                variables.write(file.written[0], frames)
            else:
                for channel, name in enumerate(file.written):
                    variables.write(name, frames[:, :, channel])

        yield write


def _about(plan: Plan) -> dict[str, list[str]]:
    """Names and units of the channels, as far as they are known."""
    return {name: list(values) for name, values in (("channels", plan.names), ("units", plan.units)) if values}


def _header(shape: tuple[int, ...]) -> bytes:
    """How a ``.npy`` file of float32 begins."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _numbers_to(file: BinaryIO) -> Write:
    def write(frames: np.ndarray) -> None:
        file.write(memoryview(np.ascontiguousarray(frames, "<f4")).cast("B"))

    return write


def _require(written: int, size: int) -> None:
    if written != size:
        raise ValueError(f"{written} bytes were written of {size}")


_OUTPUTS = {".h5": _hdf5, ".hdf5": _hdf5, ".npy": _npy, ".npz": _npz, ".nc": _netcdf}
