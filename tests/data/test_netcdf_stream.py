"""NetCDF files written as a stream: what other programs read, and nothing at all where writing fails."""

from __future__ import annotations

import errno
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from fastsep.data.formats.netcdf_stream import Variable, netcdf_stream
from fastsep.data.frames.opening import open_source
from fastsep.errors import UserError

VALUES = np.random.RandomState(0).rand(3, 5, 4, 6).astype(np.float32)
DAYS = {"units": "days since 2001-01-30", "calendar": "standard"}
SIZES = {"member": 3, "time": 5, "lat": 4, "lon": 6}
VARIABLES = {
    "time": Variable(
        ("time",), np.arange(5, dtype=np.int32), {"units": "days since 2001-01-30", "calendar": "standard"}
    ),
    "lat": Variable(("lat",), np.linspace(0, 1, 4), {"units": "degrees_north"}),
    "area": Variable(("lat", "lon"), VALUES[0, 0], {"units": "m2"}),
    "sst": Variable(tuple(SIZES), None, {"units": "degC", "_FillValue": np.float32(np.nan), "coordinates": "area"}),
    "ssh": Variable(tuple(SIZES), None, {"units": "m", "long_name": "Höhe"}),
}


def write(path: Path) -> Path:
    with netcdf_stream(path, {"title": "made here"}, SIZES, VARIABLES) as out:
        for row in VALUES:
            out.write("sst", row)
            for frame in row:
                out.write("ssh", -frame)
    return path


def test_other_programs_read_it(tmp_path: Path) -> None:
    with xarray.open_dataset(write(tmp_path / "x.nc"), engine="h5netcdf") as read:
        np.testing.assert_array_equal(read.sst, VALUES)
        np.testing.assert_array_equal(read.ssh, -VALUES)
        assert read.sst.dims == tuple(SIZES) and set(read.coords) == {"time", "lat", "area"}
        assert str(read.time.values[-1])[:10] == "2001-02-03"
        assert read.attrs["title"] == "made here" and read.ssh.attrs["long_name"] == "Höhe"
        np.testing.assert_array_equal(read.area, VALUES[0, 0])


def test_it_is_a_source_of_frames_whose_damage_shows(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nc")
    source = open_source(path, ("sst", "ssh"))
    assert source.units == ("degC", "m") and source.dims["h"] == "lat"
    np.testing.assert_array_equal(source.read(1, 0, 5), np.stack([VALUES[1], -VALUES[1]], 1))
    source.close()
    with h5py.File(path) as file:
        place = file["ssh"].id.get_offset() + 100
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    source = open_source(path, ("ssh",))
    with pytest.raises(UserError, match=r"ssh.* do not fit .*checksum"):
        source.read(0, 0, 1)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "x.nc").read_bytes() == write(tmp_path / "y.nc").read_bytes()


def test_what_fails_leaves_what_was_there(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.nc"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=r"not written: \{'ssh'"), netcdf_stream(path, {}, SIZES, VARIABLES) as out:
        out.write("sst", VALUES)
    with pytest.raises(OSError, match="No space"), netcdf_stream(path, {}, SIZES, VARIABLES):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_bytes() == b"before" and [file.name for file in tmp_path.iterdir()] == ["x.nc"]
