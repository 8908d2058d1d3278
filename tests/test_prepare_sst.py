from __future__ import annotations

import csv
import errno
import os

import h5py
import numpy as np
import pytest
import torch
import xarray
from command_line import run_command

from fastsep.data.sst.copernicus import prepare_zones
from fastsep.data.sst.files import read_zone
from fastsep.data.sst.settings import SST, Region

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
REGION = Region(lat_min=BOX[1], lon_min=BOX[3])


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
    write((ocean.isel(time=slice(290, 310)) + 1).rename("thetao"), tmp_path / "warmer.nc")
    hole.values[200, 90, 5] = 1e20
    write(hole.drop_vars("depth"), tmp_path / "impossible.nc")
    later = source / "a.nc"
    cases = (
        ((tmp_path / "none.nc",), "none.nc is missing"),
        ((), "no file is given"),
        ((damaged,), "damaged.nc is not a whole NetCDF file"),
        ((gap, later), "day 2001-10-26 is followed by 2001-10-28"),
        ((later,), "first 80% of the days"),
        ((other, later), "another grid"),
        (
            (tmp_path / "hole.nc", later),
            "hole.nc, 2001-07-20: 1 sea cells are missing in zone 3, the first at latitude 43.8",
        ),
        ((tmp_path / "impossible.nc", later), "1 sea cells hold no temperature of a sea (1e+20) in zone 3"),
        ((tmp_path / "warmer.nc", source), "both have the day 2001-10-18, and 17422 of its cells differ"),
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


def zones_of(out):
    return {path.name: read_zone(out, int(path.stem[5:])) for path in sorted(out.glob("data_*.nc"))}


@pytest.fixture(scope="module")
def expected(source, tmp_path_factory):
    """The zones of the plain files."""
    out = tmp_path_factory.mktemp("expected") / "out"
    prepare_zones([source], out, REGION, lambda blocks, total: blocks)
    return zones_of(out)


def assert_same_zones(out, expected, atol=0.0):
    found = zones_of(out)
    assert found.keys() == expected.keys()
    for name, arrays in expected.items():
        for ours, theirs in zip(found[name], arrays, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_months_that_share_days_are_joined(tmp_path, ocean, expected, capsys):
    for name, days in (("a", slice(0, 200)), ("b", slice(199, 400)), ("c", slice(300, 350)), ("d", slice(400, None))):
        write(ocean.isel(time=days), tmp_path / "in" / f"{name}.nc")
    (tmp_path / "in" / "._a.nc").write_bytes(b"what macOS leaves beside a copied file")
    assert run_command("prepare_sst", tmp_path / "in", "--out", tmp_path / "out", *BOX, capsys=capsys)[0] == 0
    assert_same_zones(tmp_path / "out", expected)


def test_kelvin_becomes_degrees_celsius(tmp_path, ocean, expected, capsys):
    surface = ocean.isel(depth=0).drop_vars("depth") + 273.15
    for name, units in (("told", {"units": "K"}), ("seen", {})):
        write(surface.rename("thetao").assign_attrs(units), tmp_path / name / "x.nc")
        out = tmp_path / f"out_{name}"
        status, stdout, _ = run_command("prepare_sst", tmp_path / name, "--out", out, *BOX, capsys=capsys)
        assert status == 0 and "x.nc is in kelvin" in stdout
        assert_same_zones(out, expected, atol=1e-4)


@pytest.mark.parametrize("land", [9.96921e36, 0, -999, 1e20])
def test_land_stored_as_a_number_is_land_and_said(land, tmp_path, ocean, expected, capsys):
    write(ocean.isel(depth=0).drop_vars("depth").fillna(land), tmp_path / "in" / "x.nc")
    out = tmp_path / "out"
    status, stdout, _ = run_command("prepare_sst", tmp_path / "in", "--out", out, *BOX, capsys=capsys)
    assert status == 0
    assert f"1 cells hold numbers that are no sea's or never change, most often {np.float32(land):g}" in stdout
    assert_same_zones(out, expected)


@pytest.mark.parametrize("declared", [True, False])
def test_packed_land_is_land_whether_declared_or_not(declared, tmp_path, ocean, expected, capsys):
    packing = {"dtype": "i2", "scale_factor": 0.000732444226741791, "add_offset": 21.0, "_FillValue": np.int16(-32767)}
    path = tmp_path / "in" / "x.nc"
    path.parent.mkdir()
    surface = ocean.isel(depth=0).drop_vars("depth")
    surface.to_dataset().to_netcdf(path, engine="h5netcdf", encoding={"thetao": packing})
    if not declared:
        with h5py.File(path, "r+") as file:
            del file["thetao"].attrs["_FillValue"]
    assert run_command("prepare_sst", path, "--out", tmp_path / "out", *BOX, capsys=capsys)[0] == 0
    assert_same_zones(tmp_path / "out", expected, atol=5e-4)


def test_netcdf_3(tmp_path, ocean, expected, capsys):
    surface = ocean.isel(depth=0).drop_vars("depth")
    (tmp_path / "in").mkdir()
    surface.to_dataset().to_netcdf(tmp_path / "in" / "x.nc", engine="scipy", format="NETCDF3_64BIT")
    assert run_command("prepare_sst", tmp_path / "in", "--out", tmp_path / "out", *BOX, capsys=capsys)[0] == 0
    assert_same_zones(tmp_path / "out", expected)
    (tmp_path / "five.nc").write_bytes(b"CDF\x05" + bytes(100))
    _, _, stderr = run_command("prepare_sst", tmp_path / "five.nc", "--out", tmp_path / "out", capsys=capsys)
    assert "five.nc is NetCDF-5: convert it with nccopy -k nc4" in stderr


def test_a_calendar_without_leap_days(tmp_path, ocean, capsys):
    days = 500  # from 1 January 2000 on; there is no 29 February
    attributes = {"units": "days since 2000-01-01", "calendar": "noleap"}
    surface = ocean.isel(depth=0, time=slice(0, days)).drop_vars("depth")
    surface = surface.assign_coords(time=("time", np.arange(days), attributes))
    write(surface, tmp_path / "in" / "x.nc")
    assert run_command("prepare_sst", tmp_path / "in", "--out", tmp_path / "out", *BOX, capsys=capsys)[0] == 0
    with xarray.open_dataset(tmp_path / "out" / "data_1.nc", engine="h5netcdf") as zone:
        assert [str(zone.time.values[k])[:10] for k in (58, 59)] == ["2000-02-28", "2000-03-01"]
    surface.time.attrs["calendar"] = "360_day"
    write(surface, tmp_path / "in" / "x.nc")
    status, _, stderr = run_command("prepare_sst", tmp_path / "in", "--out", tmp_path / "o", *BOX, capsys=capsys)
    assert status == 2 and "calendar is '360_day', whose days are not those of a year" in stderr


def test_longitudes_count_from_where_they_like(tmp_path, ocean, expected, capsys):
    surface = ocean.isel(depth=0).drop_vars("depth")
    write(surface.assign_coords(longitude=LONGITUDE + 360), tmp_path / "in" / "x.nc")
    for name, west, east in (("west", LONGITUDE[3] - 1e-6, -39), ("east", LONGITUDE[3] + 360 - 1e-6, 321)):
        box = ("--lat-min", BOX[1], "--lon-min", west, "--lon-max", east)
        out = tmp_path / name
        assert run_command("prepare_sst", tmp_path / "in", "--out", out, *box, capsys=capsys)[0] == 0
        assert_same_zones(out, expected)
        with open(out / "manifest.csv") as file:
            assert float(next(csv.DictReader(file))["west"]) == pytest.approx(west, abs=1e-5)


def test_the_files_themselves_and_zones_of_others_are_never_overwritten(tmp_path, source, ocean, capsys):
    write(ocean, tmp_path / "d" / "data_1.nc")
    before = (tmp_path / "d" / "data_1.nc").read_bytes()
    status, _, stderr = run_command("prepare_sst", tmp_path / "d", "--out", tmp_path / "d", *BOX, capsys=capsys)
    assert status == 2 and "holds the files to be cut up: choose another --out" in stderr
    status, _, stderr = run_command("prepare_sst", source, "--out", tmp_path / "d", *BOX, capsys=capsys)
    assert status == 2 and "holds 1 zones that prepare_sst did not make (data_1.nc first)" in stderr
    assert (tmp_path / "d" / "data_1.nc").read_bytes() == before
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["data_1.nc"]
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "manifest.csv").write_text("file,sha256\n")
    status, _, stderr = run_command("prepare_sst", source, "--out", tmp_path / "e", *BOX, capsys=capsys)
    assert status == 2 and "manifest.csv is no list of zones that prepare_sst made" in stderr
    assert [path.read_text() for path in (tmp_path / "e").iterdir()] == ["file,sha256\n"]


def test_zones_of_an_earlier_larger_run_go(tmp_path, source, capsys):
    out = tmp_path / "out"
    assert run_command("prepare_sst", source, "--out", out, *BOX, capsys=capsys)[0] == 0
    (out / "notes.txt").write_text("mine")
    assert run_command("prepare_sst", source, "--out", out, *BOX, "--lat-max", 41, capsys=capsys)[0] == 0
    assert sorted(path.name for path in out.iterdir()) == ["data_1.nc", "data_2.nc", "manifest.csv", "notes.txt"]


def test_a_failure_leaves_the_old_zones(tmp_path, source, capsys, monkeypatch):
    out = tmp_path / "out"
    assert run_command("prepare_sst", source, "--out", out, *BOX, capsys=capsys)[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fastsep.data.sst.files.write_bytes", full)
    status, _, stderr = run_command("prepare_sst", source, "--out", out, *BOX, capsys=capsys)
    assert status == 2 and f"cannot write {out / 'manifest.csv'}" in stderr and "space" in stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
