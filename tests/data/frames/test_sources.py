"""Frames of every format and layout come back as they were written, a part at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import xarray
from frames_files import LAYOUTS, TYPES, WRITERS, made, read_all
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastsep.data import residency
from fastsep.data.frames import npz
from fastsep.data.frames.opening import open_source
from fastsep.data.residency import host_array
from fastsep.errors import UserError


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writer=st.sampled_from(sorted(WRITERS)), layout=st.sampled_from(LAYOUTS), dtype=st.sampled_from(TYPES),
    part=st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(1, 7)), seed=st.integers(0, 9),
)  # fmt: skip
def test_what_was_written_is_read(tmp_path, writer, layout, dtype, part, seed):
    values, frames = made(layout, dtype, seed)
    source = open_source(WRITERS[writer](tmp_path, values), layout=layout)
    assert (source.sequences, source.frames, source.shape) == (frames.shape[0], frames.shape[1], frames.shape[2:])
    assert source.layout == layout and "\n" not in source.description and layout in source.description
    sequence, first = part[0] % source.sequences, part[1]
    count = min(part[2], source.frames - first)
    read = source.read(sequence, first, count)
    assert read.dtype == np.float32 and read.flags.c_contiguous
    np.testing.assert_array_equal(read, frames[sequence, first : first + count])
    np.testing.assert_array_equal(read_all(source), frames)
    source.close()


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".nc"])
def test_arrays_of_one_shape_are_channels(suffix, tmp_path):
    u, v = (np.random.default_rng(seed).random((3, 7, 5, 6), np.float32) for seed in (0, 1))
    path, names = tmp_path / f"x{suffix}", ("n", "t", "y", "x")
    if suffix == ".nc":
        variables = {"u": (names, u, {"units": "m/s"}), "v": (names, v), "both": (("d", *names), np.stack([u, v]))}
        xarray.Dataset(variables).to_netcdf(path, engine="h5netcdf")
    elif suffix == ".npz":
        np.savez(path, u=u, v=v)
    else:
        with h5py.File(path, "w") as file:
            file["u"], file["v"] = u, v
            file["u"].attrs["units"] = "m/s"
    with pytest.raises(UserError, match=r"several arrays .* --variable: .*u \(3, 7, 5, 6\), v \(3, 7, 5, 6\)"):
        open_source(path)
    source = open_source(path, ("v", "u"))
    assert source.names == ("v", "u") and source.units == (() if suffix == ".npz" else ("", "m/s"))
    np.testing.assert_array_equal(read_all(source), np.stack([v, u], 2))


@pytest.mark.parametrize(
    ("shape", "layout", "frames"),
    [
        ((3, 7, 2, 5, 6), "ntchw", (3, 7, 2, 5, 6)),
        ((3, 7, 5, 6, 2), "nthwc", (3, 7, 2, 5, 6)),
        ((3, 7, 5, 6), "nthw", (3, 7, 1, 5, 6)),
        ((9, 3, 5, 6), "tchw", (1, 9, 3, 5, 6)),
        ((9, 5, 6, 3), "thwc", (1, 9, 3, 5, 6)),
        ((9, 3, 5, 3), "nthw", (9, 3, 1, 5, 3)),
        ((9, 16, 32), "thw", (1, 9, 1, 16, 32)),
        ((9, 16, 33), "ntp", (9, 16, 1, 33)),
        ((9, 8, 8), "ntp", (9, 8, 1, 8)),
        ((9, 8), "tp", (1, 9, 1, 8)),
    ],
)
def test_axes_are_guessed_by_number_and_sizes(shape, layout, frames, tmp_path):
    values = np.random.default_rng(0).random(shape, np.float32)
    np.save(tmp_path / "x.npy", values)
    source = open_source(tmp_path / "x.npy")
    assert source.layout == layout and read_all(source).shape == frames
    assert f"x.npy {shape} read as {layout}" in source.description


@pytest.mark.parametrize(
    ("dims", "shape", "layout"),
    [
        (("time", "lat", "lon"), (4, 3, 3), "thw"),
        (("lon", "lat", "time"), (4, 3, 3), "wht"),
        (("time", "depth", "latitude", "longitude"), (4, 1, 3, 3), "tchw"),
        (("member", "time", "y", "x"), (2, 9, 3, 3), "nthw"),
        (("time", "x"), (4, 30), "tp"),
        (("time", "ncells"), (4, 30), "tp"),
        (("sample", "time", "x"), (40, 30, 30), "ntp"),
        (("time", "unheard", "of"), (40, 30, 30), "thw"),
    ],
)
def test_names_of_axes_tell_more_than_sizes(dims, shape, layout, tmp_path):
    values = np.random.default_rng(0).random(shape, np.float32)
    coordinates = {name: np.arange(size) for name, size in zip(dims, shape, strict=True)}
    xarray.Dataset({"u": (dims, values)}, coordinates).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    source = open_source(tmp_path / "x.nc")
    assert source.layout == layout and source.dims == dict(zip(layout, dims, strict=True))


def test_only_what_is_asked_for_is_read(tmp_path):
    """A file whose later part cannot be read gives its earlier one."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset(
            "u", data=np.random.default_rng(0).random((4, 9, 8, 8)), chunks=(1, 3, 8, 8), fletcher32=True
        )
        last = file["u"].id.get_chunk_info(11).byte_offset
    data = bytearray((tmp_path / "x.h5").read_bytes())
    data[last + 5] ^= 1
    (tmp_path / "x.h5").write_bytes(data)
    source = open_source(tmp_path / "x.h5")
    assert source.chunk == (1, 3) and source.read(3, 0, 6).shape == (6, 1, 8, 8)
    with pytest.raises(UserError, match="not a whole HDF5 file"):
        source.read(3, 5, 2)


@pytest.mark.parametrize("name", ["x.dat", "x.npy", "x"])
def test_what_a_file_holds_counts_and_not_its_name(name, tmp_path):
    """HDF5 may begin after a block of its user's own."""
    values, frames = made("nthw")
    with h5py.File(tmp_path / name, "w", userblock_size=1024) as file:
        file["u"] = values
    np.testing.assert_array_equal(read_all(open_source(tmp_path / name)), frames)


@pytest.mark.parametrize("writer", ["write_hdf5", "write_chunked", "write_npy", "write_npz_packed", "write_zarr"])
def test_threads_may_read_at_once(writer, tmp_path):
    values, frames = made("nthw")
    source = open_source(WRITERS[writer](tmp_path, values))
    with ThreadPoolExecutor(8) as pool:
        places = [(k % 3, k % 5) for k in range(200)]
        for (sequence, first), read in zip(places, pool.map(lambda place: source.read(*place, 3), places), strict=True):
            np.testing.assert_array_equal(read, frames[sequence, first : first + 3])


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_compressed_member_that_does_not_fit_memory_is_unpacked_to_disk(order, tmp_path, monkeypatch):
    values, frames = made("nthw")
    np.savez_compressed(tmp_path / "x.npz", u=np.asarray(values, order=order))
    source, made_arrays = open_source(tmp_path / "x.npz"), []
    monkeypatch.setattr(residency, "fits", lambda size, device: False)
    monkeypatch.setattr(npz, "host_array", lambda *given: made_arrays.append(host_array(*given)) or made_arrays[-1])
    np.testing.assert_array_equal(read_all(source), frames)
    assert [type(array) for array in made_arrays] == [np.memmap]  # and once
