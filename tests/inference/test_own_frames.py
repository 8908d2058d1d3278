"""From one's own frames to a forecast in their units: trained, loaded, and forecast from a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from command_line import run_command
from frames_cases import waves

import fastsep
from fastsep.errors import UserError

# fmt: off
SMALL = [
    "--nt-cond", "2", "--offset", "2", "--nt-pred", "3", "--enc-hidden-size", "4", "--dec-hidden-size", "4",
    "--res-hidden-size", "8", "--code-size-s", "6", "--code-size-t", "4", "--steps", "4", "--batch-size", "4",
    "--device", "cpu", "--precision", "fp32",
]
# fmt: on


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A run on a file of two variables with land, and their values (5, 12, 2, 5, 6)."""
    home = tmp_path_factory.mktemp("own")
    frames = np.stack([waves(5, 12, (5, 6)), 100 + 7 * waves(5, 12, (5, 6), 1)], 2).astype(np.float32)
    frames[..., 1:3, 2:4] = np.nan
    dims, units = ("sample", "time", "lat", "lon"), {"t": "degC", "u": "m s-1"}
    fields = {name: (dims, frames[:, :, k], {"units": units[name]}) for k, name in enumerate(units)}
    coordinates = {"lat": np.arange(5.0), "time": ("time", 6.0 * np.arange(12), {"units": "hours since 2001-01-01"})}
    dataset = xarray.Dataset(fields, coordinates)
    dataset.to_netcdf(home / "own.nc", engine="h5netcdf")
    how = ["--data", home / "own.nc", "--variable", "t", "u", "--scale", "standard", "--out", home / "run"]
    unheard = SimpleNamespace(readouterr=lambda: ("", ""))  # capsys is for single tests
    assert run_command("train", "frames", *how, *SMALL, capsys=unheard)[0] == 0
    return home / "run", frames


def test_forecasts_of_other_programs_are_those_that_are_scored(trained) -> None:
    run, frames = trained
    model = fastsep.load(run, "cpu")
    windows = np.stack([frames[4, t : t + 5] for t in range(8)])  # of the last sequence, which tests
    error = model.forecast(windows[:, :2], 3) - windows[:, 2:]
    scores = json.loads((run / "metrics.json").read_text())["scores"]["model"]
    for channel, name in enumerate(("t", "u")):
        own = np.sqrt(np.nanmean(np.square(error[:, :, channel])))
        assert scores[f"rmse_{name}"]["3"] == pytest.approx(own, rel=1e-4)
    assert model.scaling.names == ("t", "u") and model.scaling.units == ("degC", "m s-1")


def test_a_file_and_a_program_get_the_same(trained, tmp_path: Path, capsys) -> None:
    run, frames = trained
    expected = fastsep.load(run, "cpu").forecast(frames, 4)
    how = ["--horizon", 4, "--out", tmp_path / "future.nc", "--device", "cpu", "--animate", tmp_path / "future.gif"]
    status, _, errors = run_command("forecast", run, run.with_name("own.nc"), *how, capsys=capsys)
    assert status == 0, errors
    with xarray.open_dataset(tmp_path / "future.nc", engine="h5netcdf") as future:
        np.testing.assert_allclose(np.stack([future.t, future.u], 2), expected, rtol=1e-5)
        assert future.u.units == "m s-1" and future.u.dims == ("sample", "time", "lat", "lon")
        assert str(future.time.values[0])[:13] == "2001-01-04T00" and str(future.time.values[1])[11:13] == "06"


def test_without_its_units_a_run_does_not_forecast(trained, tmp_path: Path) -> None:
    run = shutil.copytree(trained[0], tmp_path / "run")
    (run / "scaling.json").unlink()
    with pytest.raises(UserError, match=r"lacks its scaling.json, without which its units are unknown"):
        fastsep.load(run)
