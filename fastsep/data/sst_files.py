"""Reads and writes the files data_{zone}.nc of sea surface temperature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fastsep.data.optional import optional
from fastsep.errors import UserError

SIDE = 64
ENGINE = "h5netcdf"


def open_netcdf(path: Path, **options: Any) -> Any:
    """Open a NetCDF file lazily, as an ``xarray.Dataset``; masked cells read as NaN.

    Raises:
        UserError: the file is damaged, or a package is not installed.
    """
    xarray = optional("xarray", "sea surface temperature")
    optional(ENGINE, "sea surface temperature")
    try:
        with h5py.File(path, "r") as file:  # h5netcdf prints a traceback of its own where this fails
            for name in file:
                list(file[name].attrs.values())
        return xarray.open_dataset(path, engine=ENGINE, **options)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise UserError(f"{path} is not a whole NetCDF-4 file ({_first_line(error)}): fetch or make it again") from None


def read_values(path: Path, variable: Any) -> np.ndarray:
    """The values of an ``xarray`` variable.

    Raises:
        UserError: they cannot be read.
    """
    try:
        return np.asarray(variable.values)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is damaged ({_first_line(error)}): fetch or make it again") from None


def read_zone(directory: Path, zone: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Temperature (T, 64, 64), and mean and deviation (T,) of its day of the year; float32, degrees Celsius.

    Raises:
        UserError: the file is missing, damaged, of another size, or has masked or missing cells.
    """
    path = directory / f"data_{zone}.nc"
    if not path.exists():
        raise UserError(f"zone {zone} is missing ({path}): make it with python -m fastsep.prepare_sst, or set --zones")
    with open_netcdf(path, decode_times=False) as dataset:
        names = ("thetao", "daily_mean", "daily_std")
        absent = [name for name in names if name not in dataset.variables]
        if absent:
            raise UserError(f"{path} has no variable {absent[0]}: make it with python -m fastsep.prepare_sst")
        values = [read_values(path, dataset[name]) for name in names]
    temperature, mean, std = (value.astype(np.float32, copy=False) for value in values)
    frames = len(temperature)
    if temperature.shape != (frames, SIDE, SIDE) or mean.shape != (frames,) or std.shape != (frames,):
        raise UserError(
            f"{path} holds thetao {temperature.shape}, daily_mean {mean.shape}, daily_std {std.shape}, not (T, 64, 64)"
            ", (T,), (T,): make it with python -m fastsep.prepare_sst"
        )
    for what, bad in (
        ("masked or missing cells", ~np.isfinite(temperature).all((1, 2))),
        ("no daily mean", ~np.isfinite(mean)),
        ("no positive daily standard deviation", ~(np.isfinite(std) & (std > 0))),
    ):
        if bad.any():
            frame = np.flatnonzero(bad)[0]
            raise UserError(f"zone {zone}, frame {frame} has {what} ({path}): mend the file or leave out the zone")
    return temperature, mean, std


def write_zone(path: Path, variables: dict[str, Any], coordinates: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Write an ``xarray`` data set as NetCDF-4; renamed when whole.

    Raises:
        UserError: the file cannot be written.
    """
    xarray = optional("xarray", "sea surface temperature")
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        xarray.Dataset(variables, coordinates, attributes).to_netcdf(part, engine=ENGINE)
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({_first_line(error)}): choose another --out") from None
    finally:
        part.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:150]
