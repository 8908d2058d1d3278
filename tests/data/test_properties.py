"""Readers and writers hold for whatever arrays, bytes and boxes hypothesis thinks of."""

from __future__ import annotations

import gzip
import struct

import h5py
import numpy as np
import pytest
import torch

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastsep.data.formats.hdf5 import find_dataset, open_hdf5, read_dataset, row_checksums, verify_rows
from fastsep.data.formats.hdf5_stream import Rows, hdf5_stream
from fastsep.data.formats.netcdf_time import decode_days
from fastsep.data.mnist.files import read_idx
from fastsep.data.sst.copernicus_files import box_columns
from fastsep.data.wave.files import load_sequence
from fastsep.data.wave.reader import _view as read_sequences
from fastsep.data.wave.reader import open_windows
from fastsep.data.wave.settings import Wave
from fastsep.errors import UserError
from fastsep.runs.official_pickle import read_module

CPU = torch.device("cpu")
quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
shapes = arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)
numbers = st.sampled_from([np.dtype(kind) for kind in ("u1", "i2", "f4", "f8", "i8")])


def one_line(error: pytest.ExceptionInfo) -> None:
    assert str(error.value) and "\n" not in str(error.value)


@quick
@given(st.data())
def test_a_stream_reads_back_whatever_it_holds(tmp_path, data):
    dtype = data.draw(numbers)
    values = data.draw(arrays.arrays(dtype, data.draw(shapes)))
    small = data.draw(arrays.arrays(dtype, data.draw(shapes)))
    text = data.draw(st.text(max_size=20).filter(lambda text: "\0" not in text))
    pieces = data.draw(st.integers(1, 3))
    path = tmp_path / "x.h5"
    with hdf5_stream(path, {"text": text, "n": 1}, {"small": small}, "rows", Rows(values.shape, dtype)) as out:
        for piece in np.array_split(values, pieces):
            out.write(piece)
    with open_hdf5(path, "file", "make it") as file:
        rows = find_dataset(file, "rows")
        found = rows[...]
        verify_rows(found, row_checksums(rows), 0, "row")
        assert found.tobytes() == values.tobytes() and found.shape == values.shape
        assert read_dataset(file, "small").tobytes() == small.tobytes()


@quick
@given(values=arrays.arrays(arrays.scalar_dtypes(), shapes), chunked=st.booleans())
def test_any_array_in_place_of_waves_is_taken_or_refused_in_one_line(tmp_path, values, chunked):
    path = tmp_path / "x.h5"
    try:
        with h5py.File(path, "w") as file:
            file.create_dataset("simulations", data=values, chunks=chunked or None)
    except (TypeError, ValueError):
        return  # HDF5 has no such type
    read_sequences.cache_clear()
    try:
        windows = open_windows(Wave(data=path), "train", 1, 1, CPU)
    except UserError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert windows.frames.isfinite().all() and windows.frames.min() >= 0 and windows.frames.max() <= 1


@quick
@given(images=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)), packed=st.booleans())
def test_any_bytes_in_idx_read_back(tmp_path, images, packed):
    raw = struct.pack(f">HBB{images.ndim}I", 0, 8, images.ndim, *images.shape) + images.tobytes()
    (tmp_path / "x").write_bytes(gzip.compress(raw) if packed else raw)
    np.testing.assert_array_equal(read_idx(tmp_path / "x"), images)


@quick
@given(
    data=st.binary(max_size=300), start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x1f\x8b", b"\0\0\x08\x03"])
)
def test_any_bytes_in_place_of_a_file_are_refused_in_one_line(tmp_path, data, start):
    path = tmp_path / "x"
    path.write_bytes(start + data)
    for read in (load_sequence, read_module):
        with pytest.raises(UserError) as error:
            read(path)
        one_line(error)


@quick
@given(
    first=st.dates(np.datetime64("1600-01-01").item(), np.datetime64("2200-01-01").item()),
    count=st.integers(1, 40),
    since=st.dates(np.datetime64("1600-01-01").item(), np.datetime64("2200-01-01").item()),
    unit=st.sampled_from([("days", 1), ("hours", 24), ("minutes", 1440), ("seconds", 86400)]),
    part=st.floats(0, 0.99),
)
def test_days_are_those_that_were_counted(first, count, since, unit, part):
    name, factor = unit
    days = np.datetime64(first) + np.arange(count)
    passed = ((days - np.datetime64(since)).astype(np.int64) + part) * factor
    np.testing.assert_array_equal(decode_days(passed, f"{name} since {since}", "standard"), days)


@quick
@given(
    start=st.sampled_from([-180.0, 0.0, -30.0]),
    count=st.sampled_from([36, 90, 360]),
    low=st.integers(-360, 360),
    width=st.integers(1, 359),
    turns=st.integers(-1, 1),
)
def test_a_box_takes_the_columns_within_it_going_east(start, count, low, width, turns):
    step = 360 / count
    longitude = start + step * np.arange(count)
    columns, found = box_columns(longitude, low + 360 * turns, low + 360 * turns + width)
    chosen = np.concatenate([np.arange(count)[part] for part in columns]) if columns else np.array([], int)
    inside = {k for k in range(count) if (longitude[k] - low) % 360 <= width + 1e-9}
    assert set(chosen.tolist()) == inside and len(chosen) == len(inside) <= count
    np.testing.assert_allclose((found - longitude[chosen] + 180) % 360 - 180, 0, atol=1e-6)
    assert (np.diff(found) > 0).all()
