"""Reads and writes the files data_{zone}.nc of sea surface temperature."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from fastsep.data.formats.checksum import checksum
from fastsep.data.formats.netcdf import open_variables
from fastsep.data.formats.optional import optional
from fastsep.errors import UserError
from fastsep.files import make_directory, write_bytes

SIDE = 64
MADE_BY = "fastsep.prepare_sst"
_DEGREES = (-10.0, 50.0)  # no sea is colder or warmer
_DEVIATION = 25.0  # nor varies more within a day of the year


def read_zone(directory: Path, zone: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Temperature (T, 64, 64), and mean and deviation (T,) of its day of the year; float32, degrees Celsius.

    Raises:
        UserError: the file is missing, damaged, of another size, or has cells that hold no temperature of a sea.
    """
    path = directory / f"data_{zone}.nc"
    if not path.exists():
        raise UserError(f"zone {zone} is missing ({path}): make it with python -m fastsep.prepare_sst, or set --zones")
    names = ("thetao", "daily_mean", "daily_std")
    variables = open_variables(path, names)
    absent = [name for name in names if name not in variables]
    if absent:
        raise UserError(f"{path} has no variable {absent[0]}: make it with python -m fastsep.prepare_sst")
    temperature, mean, std = (variables[name].read().astype(np.float32, copy=False) for name in names)
    frames = len(temperature) if temperature.ndim else 0
    if temperature.shape != (frames, SIDE, SIDE) or mean.shape != (frames,) or std.shape != (frames,) or not frames:
        raise UserError(
            f"{path} holds thetao {temperature.shape}, daily_mean {mean.shape}, daily_std {std.shape}, not (T, 64, 64)"
            ", (T,), (T,): make it with python -m fastsep.prepare_sst"
        )
    _refuse_impossible(path, zone, temperature, mean, std)
    return temperature, mean, std


def _refuse_impossible(path: Path, zone: int, temperature: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    low, high = _DEGREES
    missing = ~np.isfinite(temperature)
    wrong = ~missing & ((temperature < low) | (temperature > high))
    for what, values, bad in (
        ("masked or missing cells", temperature, missing),
        (f"cells that are no sea's temperature in degrees Celsius, {low:g} to {high:g}", temperature, wrong),
        ("no daily mean", mean, ~((mean >= low) & (mean <= high))),
        ("no positive daily standard deviation", std, ~((std > 0) & (std <= _DEVIATION))),
    ):
        if bad.any():
            frame, *cell = np.argwhere(bad)[0]
            place = f" at row {cell[0]}, column {cell[1]}" if cell else ""
            raise UserError(
                f"zone {zone}, frame {frame} has {what} ({values[frame, *cell]:g}{place}; {np.count_nonzero(bad)} such "
                f"in all; {path}): mend the file or leave out the zone"
            )
    still = np.argwhere(np.ptp(temperature, axis=0) == 0)
    if len(still) and len(temperature) > 1:
        row, column = still[0]
        raise UserError(
            f"zone {zone} has {len(still)} cells that never change, as land does ({temperature[0, row, column]:g} at "
            f"row {row}, column {column}; {path}): mend the file or leave out the zone"
        )


def write_zone(path: Path, variables: dict[str, Any], coordinates: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Write a NetCDF-4 file, whole or not at all; its arrays carry checksums.

    It is put together in memory, because HDF5 cannot be trusted with a full disk.

    Args:
        variables: (dimensions, values) or (dimensions, values, attributes) by name.
        coordinates: values (n,) of dimensions, by name.

    Raises:
        OSError: the file cannot be written.
    """
    h5netcdf = optional("h5netcdf", "sea surface temperature")
    image = io.BytesIO()
    with h5netcdf.File(image, "w", libver=("v110", "v110")) as file:
        file.attrs.update(attributes)
        named = {name: ((name,), *_encoded(values)) for name, values in coordinates.items()}
        for name, (dims, values, *given) in (named | variables).items():
            for dim, size in zip(dims, values.shape, strict=True):
                if dim not in file.dimensions:
                    file.dimensions[dim] = size
            variable = file.create_variable(name, dims, values.dtype, data=values)
            variable.attrs.update(*given)
            variable.attrs["crc32"] = np.uint32(checksum(values))
    make_directory(path.parent)
    write_bytes(path, image.getbuffer())


def _encoded(values: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """A coordinate as NetCDF stores it, with its attributes; dates as days since 1970."""
    if values.dtype.kind != "M":
        return np.asarray(values), {}
    days = values.astype("datetime64[D]").astype(np.int32)
    return days, {"units": "days since 1970-01-01", "calendar": "standard"}
