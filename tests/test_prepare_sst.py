from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
import xarray
from command_line import run_command

from fastsep.data.sst import SST
from fastsep.data.sst_files import read_zone

DAYS = np.arange("2001-01-01", "2002-06-30", dtype="datetime64[D]").astype("datetime64[ns]")
LATITUDE = np.linspace(30, 50, 131)
LONGITUDE = np.linspace(-60, -40, 133)


@pytest.fixture(scope="module")
def ocean():
    """Two levels; one cell of land in the tile of the north-east."""
    random = np.random.RandomState(0)
    values = random.normal(0, 1, (len(DAYS), 1, 131, 133)).astype(np.float32)
    values += 15 + 10 * np.sin(np.arange(len(DAYS)) / 58)[:, None, None, None]
    values = np.concatenate([values, values - 5], axis=1)
    values[:, :, 2 + 64 + 7, 3 + 64 + 9] = np.nan
    return xarray.DataArray(
        values,
        dims=("time", "depth", "latitude", "longitude"),
        coords={"time": DAYS, "depth": [0.494, 1.541], "latitude": LATITUDE, "longitude": LONGITUDE},
        name="thetao",
    )


def write(array, path):
    path.parent.mkdir(exist_ok=True)
    array.to_dataset().to_netcdf(path, engine="h5netcdf")


@pytest.fixture(scope="module")
def source(ocean, tmp_path_factory):
    directory = tmp_path_factory.mktemp("copernicus")
    write(ocean.isel(time=slice(300, None)), directory / "a.nc")  # not in the order of time
    write(ocean.isel(time=slice(0, 300)), directory / "b.nc")
    return directory


BOX = ("--lat-min", LATITUDE[2] - 1e-6, "--lon-min", LONGITUDE[3] - 1e-6)


def test_zones_hold_the_tiles_and_train(tmp_path, source, ocean, capsys):
    status, stdout, _ = run_command("prepare_sst", source, "--out", tmp_path, *BOX, capsys=capsys)
    assert status == 0 and "3 zones" in stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data_1.nc", "data_2.nc", "data_3.nc", "manifest.csv"]
    with open(tmp_path / "manifest.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["column"]) for row in rows] == [("0", "0"), ("0", "64"), ("64", "0")]
    surface = ocean.isel(depth=0).values
    for row in rows:
        temperature, mean, std = read_zone(tmp_path, int(row["zone"]))
        south = int(np.abs(LATITUDE - float(row["south"])).argmin())
        west = int(np.abs(LONGITUDE - float(row["west"])).argmin())
        assert (south, west) == (2 + int(row["row"]), 3 + int(row["column"]))
        np.testing.assert_array_equal(temperature, surface[:, south : south + 64, west : west + 64])
        np.testing.assert_allclose(mean[100], temperature[100].mean(), atol=1e-4)  # one training year has that day
        np.testing.assert_allclose(std[100], temperature[100].std(), atol=1e-4)
        assert mean[465] == mean[100]  # a year later
    windows = SST(data=tmp_path, zones=(1, 2, 3), test_zones=(2,)).open("test", 4, 6, torch.device("cpu"))
    assert windows.batch(torch.tensor([0, len(windows) - 1])).isfinite().all()


def test_north_first_files_give_the_same_zones(tmp_path, source, ocean, capsys):
    write(ocean.isel(latitude=slice(None, None, -1)), tmp_path / "north" / "all.nc")
    for name, files in (("south", source), ("north", tmp_path / "north" / "all.nc")):
        out = tmp_path / f"out_{name}"
        assert run_command("prepare_sst", files, "--out", out, *BOX, capsys=capsys)[0] == 0
    assert (tmp_path / "out_south/manifest.csv").read_text() == (tmp_path / "out_north/manifest.csv").read_text()
    for zone in (1, 3):
        pair = (read_zone(tmp_path / f"out_{name}", zone) for name in ("south", "north"))
        for south, north in zip(*pair, strict=True):
            np.testing.assert_allclose(south, north, rtol=1e-6)


def test_bad_input_is_one_line_and_status_2(tmp_path, source, ocean, capsys):
    damaged, gap, other = (tmp_path / f"{name}.nc" for name in ("damaged", "gap", "other"))
    damaged.write_bytes((source / "a.nc").read_bytes()[:3000])
    write(ocean.isel(time=slice(0, 299)), gap)
    write(ocean.isel(time=slice(0, 300), latitude=slice(1, None)), other)
    hole = ocean.isel(depth=0, time=slice(0, 300)).copy()
    hole.values[200, 90, 5] = np.nan
    write(hole.drop_vars("depth"), tmp_path / "hole.nc")
    write(ocean.isel(time=slice(0, 300)).rename("salinity"), tmp_path / "salt.nc")
    land = np.full_like(ocean.isel(depth=0).values, np.nan)
    write(ocean.isel(depth=0).drop_vars("depth").copy(data=land), tmp_path / "land.nc")
    later = source / "a.nc"
    cases = (
        ((tmp_path / "none.nc",), "none.nc is missing"),
        ((), "has no NetCDF files"),
        ((damaged,), "damaged.nc is not a whole NetCDF-4 file"),
        ((gap, later), "day 2001-10-26 is followed by 2001-10-28"),
        ((later,), "first 80% of the days"),
        ((other, later), "another grid"),
        ((tmp_path / "hole.nc", later), "sea cells are missing in zone 3"),
        ((tmp_path / "salt.nc",), "no variable thetao"),
        ((tmp_path / "land.nc",), "no tile of 64x64 cells"),
        ((source, "--depth", 100), "no level within 0.5 m of 100.0 m"),
        ((source, "--lat-min", 42), "fewer than 64x64"),
    )
    for arguments, message in cases:
        status, _, stderr = run_command("prepare_sst", *arguments, "--out", tmp_path / "out", capsys=capsys)
        assert status == 2 and message in stderr, (message, stderr)
        assert stderr.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "out").exists()
