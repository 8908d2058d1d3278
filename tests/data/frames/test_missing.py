"""What a file calls missing is NaN, packed numbers are unpacked, and coordinates stay as they are."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray
import zarr

from fastsep.data.formats.checksum import checksum, pack_checksums
from fastsep.data.formats.packing import DEFAULT_FILLS, Packing
from fastsep.data.frames.opening import open_source
from fastsep.errors import UserError

SHAPE = (5, 16, 18)
DIMS = ("time", "lat", "lon")


def field() -> xarray.Dataset:
    values = 280 + 10 * np.random.default_rng(0).random(SHAPE)
    values[:, :4, 5] = np.nan
    values[2, 9, 9] = np.nan
    coordinates = {
        "time": ("time", np.arange(5), {"units": "days since 2001-03-01", "calendar": "noleap"}),
        "lat": ("lat", np.linspace(-40, 40, 16), {"units": "degrees_north"}),
        "lon": ("lon", np.linspace(0, 50, 18).astype(np.float32), {"units": "degrees_east"}),
        "area": (("lat", "lon"), np.random.default_rng(1).random(SHAPE[1:]), {"units": "m2"}),
    }
    return xarray.Dataset({"t": (DIMS, values, {"units": "K", "long_name": "temperature"})}, coordinates)


def netcdf4(path: Path, encoding: dict) -> Path:
    field().to_netcdf(path / "x.nc", engine="h5netcdf", encoding={"t": encoding})
    return path / "x.nc"


def netcdf3(path: Path, encoding: dict) -> Path:
    field().to_netcdf(path / "x.nc", engine="scipy", format="NETCDF3_CLASSIC", encoding={"t": encoding})
    return path / "x.nc"


def zarr2(path: Path, encoding: dict) -> Path:
    field().to_zarr(path / "x.zarr", zarr_format=2, encoding={"t": encoding})
    return path / "x.zarr"


def zarr3(path: Path, encoding: dict) -> Path:
    field().to_zarr(path / "x.zarr", zarr_format=3, encoding={"t": encoding}, consolidated=False)
    return path / "x.zarr"


ENCODINGS = [
    {},
    {"dtype": "float32", "_FillValue": -999.0},
    {"dtype": "int16", "scale_factor": 0.001, "add_offset": 285.0, "_FillValue": -32767},
    {"dtype": "int32", "scale_factor": 1e-5, "add_offset": 280.0, "_FillValue": 7},
]


@pytest.mark.parametrize("write", [netcdf4, netcdf3, zarr2, zarr3])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_it_is_read_as_xarray_reads_it(write, encoding, tmp_path):
    path = write(tmp_path, encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        open_any = xarray.open_zarr if path.suffix == ".zarr" else xarray.open_dataset
        with open_any(path, decode_times=False) as opened:
            expected = opened["t"].values
    source = open_source(path)
    assert (source.names, source.units, source.layout) == (("t",), ("K",), "thw")
    read = source.read(0, 0, 5)[:, 0]
    assert np.isnan(read).sum() == 21 and (np.isnan(read) == np.isnan(expected)).all()
    np.testing.assert_allclose(read, expected, rtol=2e-7)


@pytest.mark.parametrize("write", [netcdf4, netcdf3, zarr3])
def test_coordinates_stay_raw_and_keep_their_attributes(write, tmp_path):
    source, known = open_source(write(tmp_path, {})), field()
    assert source.dims == {"t": "time", "h": "lat", "w": "lon"}
    assert set(source.coordinates) == {"time", "lat", "lon", "area"}
    for name, (dims, values, attributes) in source.coordinates.items():
        assert dims == known[name].dims
        np.testing.assert_array_equal(values, known[name].values)
        assert attributes["units"] == known[name].attrs["units"]
    assert source.coordinates["time"].attributes["calendar"] == "noleap"


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "u2", "i8"])
@pytest.mark.parametrize("own", [True, False])
def test_the_netcdf_library_marks_what_was_not_written(dtype, own, tmp_path):
    """Unless the file names another mark, or was not written by that library."""
    values = np.ones(SHAPE, dtype)
    values[1, 2, 3] = DEFAULT_FILLS[dtype]
    if own:
        with h5netcdf.File(tmp_path / "x.nc", "w") as file:
            file.dimensions = dict(zip(DIMS, SHAPE, strict=True))
            file.create_variable("t", DIMS, data=values)
            file.create_variable("other", DIMS, data=values, fillvalue=values.dtype.type(3))
    else:
        with h5py.File(tmp_path / "x.nc", "w") as file:
            file["t"] = values
    read = open_source(tmp_path / "x.nc", ("t",)).read(0, 0, 5)
    assert np.isnan(read[1, 0, 2, 3]) == own and np.isnan(read).sum() == own
    if own:
        assert not np.isnan(open_source(tmp_path / "x.nc", ("other",)).read(0, 0, 5)).any()


def test_bytes_have_no_default_mark(tmp_path):
    values = np.arange(-127, 128, dtype="i1")[: 15 * 17].reshape(15, 17)
    xarray.Dataset({"t": (("time", "x"), values)}).to_netcdf(tmp_path / "x.nc", engine="scipy")
    np.testing.assert_array_equal(open_source(tmp_path / "x.nc").read(0, 0, 15)[:, 0], values)


def test_chunks_that_nobody_wrote_are_missing_where_the_file_says_so(tmp_path):
    with h5netcdf.File(tmp_path / "x.nc", "w") as file:
        file.dimensions = {"time": None, "lat": 16, "lon": 18}
        file.create_variable("t", DIMS, "f4", chunks=(1, 16, 18), fillvalue=np.float32(-9))
        file.resize_dimension("time", 5)
        file["t"][1:3] = 1
    read = open_source(tmp_path / "x.nc").read(0, 0, 5)
    assert [bool(np.isnan(frame).all()) for frame in read] == [True, False, False, True, True]
    stored = zarr.create_array(tmp_path / "x.zarr", shape=SHAPE, dtype="f4", chunks=(1, 16, 18), fill_value=np.nan)
    stored[1:3] = 1
    read = open_source(tmp_path / "x.zarr").read(0, 0, 5)
    assert [bool(np.isnan(frame).all()) for frame in read] == [True, False, False, True, True]


def test_plain_numbers_stay_as_they_are(tmp_path):
    values = np.array([[0, np.inf, -np.inf, np.nan, DEFAULT_FILLS["f4"], 1e300]])
    np.save(tmp_path / "x.npy", values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = open_source(tmp_path / "x.npy").read(0, 0, 1)[0, 0]
    np.testing.assert_array_equal(read, [0, np.inf, -np.inf, np.nan, np.float32(DEFAULT_FILLS["f4"]), np.inf])


@pytest.mark.parametrize(
    ("raw", "attributes", "values"),
    [
        (np.array([1, 2, 3], "i2"), {"valid_min": np.int16(2)}, [np.nan, 2, 3]),
        (np.array([1, 2, 3], "i2"), {"valid_max": np.int16(2)}, [1, 2, np.nan]),
        (np.array([1, 2, 3], "f4"), {"valid_range": np.array([1.5, 2.5])}, [np.nan, 2, np.nan]),
        (np.array([1, 2, 3], "i2"), {"valid_range": np.array([2, 3], "i2"), "scale_factor": 10.0}, [np.nan, 20, 30]),
        (np.array([1, 2, 3], "i2"), {"valid_range": np.array([0.0, 25.0]), "scale_factor": 10.0}, [10, 20, np.nan]),
        (np.array([1, 2, 3], "i2"), {"missing_value": np.array([1, 3])}, [np.nan, 2, np.nan]),
        (np.array([1, 2, 3], "f4"), {"missing_value": np.float32(3), "_FillValue": np.float32(1)}, [np.nan, 2, np.nan]),
        (np.array([1, -32768, -32767], "i2"), {"add_offset": 1.0}, [2, np.nan, np.nan]),
        (np.array([1, -1, -2], "i1"), {"_Unsigned": "true"}, [1, 255, 254]),
        (np.array([1, -1, -2], "i1"), {"_Unsigned": "true", "_FillValue": np.int8(-1)}, [1, np.nan, 254]),
        (
            np.array([0, 1, -6, -5, -1], "i2"),
            {"_Unsigned": "true", "_FillValue": np.int16(-1), "valid_range": np.array([1, -6], "i2")},
            [np.nan, 1, 65530, np.nan, np.nan],
        ),
        (np.array([1, -1, -2], "i1"), {"_Unsigned": "true", "valid_max": np.int8(-2)}, [1, np.nan, 254]),
        (np.array([0, -1, -2], "i1"), {"_Unsigned": "true", "valid_min": np.int16(-1)}, [0, 255, 254]),
        (np.array([0, -1, -2], "i1"), {"_Unsigned": "true", "valid_range": np.array([-1.0, 254])}, [0, np.nan, 254]),
        (np.array([1, 300], "u2"), {"_FillValue": np.int16(-1)}, [1, 300]),
        (np.array([1, 300], "u2"), {"_FillValue": -999.5}, [1, 300]),
        (np.array([np.nan, 2]), {"_FillValue": np.nan}, [np.nan, 2]),
    ],
)
def test_attributes_that_mark_and_pack(raw, attributes, values):
    np.testing.assert_allclose(Packing.of(attributes, raw.dtype).unpack(raw), values)


@pytest.mark.parametrize("name", ["_FillValue", "missing_value", "scale_factor", "add_offset", "valid_min"])
def test_attributes_that_are_no_numbers(name, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["t"] = np.ones(SHAPE)
        file["t"].attrs[name] = "none"
    with pytest.raises(UserError, match=f"its {name} is no number"):
        open_source(tmp_path / "x.h5")


@pytest.mark.parametrize("sums", ["rows", "whole"])
def test_checksums_of_this_program_are_compared(sums, tmp_path):
    values = np.random.default_rng(0).random((3, *SHAPE))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["t"] = values
        file["t"].attrs["crc32"] = "sums" if sums == "rows" else np.uint32(checksum(values))
        if sums == "rows":
            file["sums"] = np.array([checksum(row) for row in values], np.uint32)
    np.testing.assert_array_equal(open_source(tmp_path / "x.h5").read(2, 1, 3)[:, 0], values[2, 1:4].astype(np.float32))
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["t"][2, 0, 0, 0] += 1
    source = open_source(tmp_path / "x.h5")
    if sums == "rows":
        source.read(1, 0, 5)
    for _ in range(2):
        with pytest.raises(UserError, match="not fit the checksum"):
            source.read(2, 1, 3)  # a part that did not change, of a row that did


def test_checksums_after_an_array_of_numpy_are_compared(tmp_path):
    values = np.random.default_rng(0).random((3, *SHAPE))
    np.save(tmp_path / "x.npy", values)
    with open(tmp_path / "x.npy", "ab") as file:
        file.write(pack_checksums([checksum(row) for row in values]))
    np.testing.assert_array_equal(open_source(tmp_path / "x.npy").read(2, 0, 5)[:, 0], values[2].astype(np.float32))
    good = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(good[:-100] + b"?" + good[-99:])
    source = open_source(tmp_path / "x.npy")
    source.read(1, 0, 5)
    with pytest.raises(UserError, match="row 2 does not fit the checksum"):
        source.read(2, 0, 1)
    (tmp_path / "x.npy").write_bytes(good[:-9] + b"?" + good[-8:])
    with pytest.raises(UserError, match="the checksums after its array are damaged"):
        open_source(tmp_path / "x.npy")
