"""Files to forecast from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray


def write_nc(path: Path, frames: np.ndarray) -> Path:
    """As people write them: with names, dates and coordinates, two variables."""
    dims = ("member", "time", "lat", "lon")
    days = np.arange("2001-02-20", "2001-02-27", dtype="datetime64[D]").astype("datetime64[ns]")
    coordinates = {
        "time": days, "lat": np.array([50.0, 51, 52, 53]), "area": (("lat", "lon"), np.ones((4, 3)), {"units": "m2"}),
    }  # fmt: skip
    variables = {
        name: (dims, frames[:, :, k], {"units": unit}) for k, (name, unit) in enumerate((("t", "degC"), ("s", "psu")))
    }
    xarray.Dataset(variables, coordinates).to_netcdf(path, engine="h5netcdf")
    return path
