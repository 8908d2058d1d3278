"""HDF5 files: written as a stream and whole, read with distrust."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastsep.data.formats.hdf5 import find_dataset, open_hdf5, read_attribute, read_dataset, row_checksums, verify_rows
from fastsep.data.formats.hdf5_stream import Rows, hdf5_stream
from fastsep.errors import UserError

SMALL = {"a": np.arange(7.0), "b": np.arange(300_000, dtype=np.int16).reshape(3, -1), "empty": np.zeros((0, 2))}


def write(path: Path, values: np.ndarray, pieces: int = 2) -> None:
    rows = Rows(values.shape, values.dtype)
    with hdf5_stream(path, {"text": "été", "number": 3}, SMALL, "rows", rows) as out:
        for piece in np.array_split(values, pieces):
            out.write(piece)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3, 4), (70, 40, 33), (3000,)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_stream_reads_back(shape, dtype, tmp_path):
    values = (np.random.RandomState(0).rand(*shape) * 255).astype(dtype)
    write(tmp_path / "x.h5", values)
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]
    with h5py.File(tmp_path / "x.h5") as file:
        assert [read_attribute(file, name) for name in ("text", "number", "none")] == ["été", 3, None]
        np.testing.assert_array_equal(file["rows"], values)
        assert file["rows"].id.get_offset() is not None  # contiguous: can be mapped
        if values.nbytes > 4096:
            assert file["rows"].id.get_offset() % 4096 == 0
        for name, expected in SMALL.items():
            np.testing.assert_array_equal(read_dataset(file, name), expected)
        sums = row_checksums(find_dataset(file, "rows"))
        verify_rows(values, sums, 0, "row")
        if len(values) > 2:
            with pytest.raises(ValueError, match=r"1 of its rows do not fit their checksums, row 2 first"):
                verify_rows(values[2:3] + 1, sums, 2, "row")


def test_another_number_of_rows_leaves_nothing(tmp_path):
    for count in (1, 3):
        with (
            pytest.raises(ValueError, match=f"{count} rows were written of 2"),
            hdf5_stream(tmp_path / "x.h5", {}, {}, "rows", Rows((2, 3), np.dtype(np.uint8))) as out,
        ):
            out.write(np.zeros((count, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", [None, 3])
def test_rows_may_come_from_several_threads_in_any_order(missing, tmp_path):
    values = np.random.RandomState(0).rand(40, 5000)
    write(tmp_path / "one.h5", values)
    numbers = [k for k in np.random.RandomState(1).permutation(40).tolist() if k != missing]
    many = hdf5_stream(
        tmp_path / "many.h5", {"text": "été", "number": 3}, SMALL, "rows", Rows((40, 5000), values.dtype)
    )
    if missing is not None:
        with pytest.raises(ValueError, match="39 rows were written of 40"), many as out:
            each(numbers, lambda k: out.write_at(k, values[k : k + 1]))
        assert not (tmp_path / "many.h5").exists()
        return
    with many as out:
        each(numbers, lambda k: out.write_at(k, values[k : k + 1]))
    assert (tmp_path / "many.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


def each(numbers, work):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, numbers))


def test_a_full_disk_is_an_ordinary_error(tmp_path):
    code = """
import errno, resource, signal, sys, numpy as np
from pathlib import Path
from fastsep.data.formats.hdf5_stream import Rows, hdf5_stream
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 500, 5_000, 40_000, 100_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with hdf5_stream(Path(sys.argv[1]), {}, {}, "rows", Rows((100, 1000), np.dtype(np.uint8))) as out:
            out.write(np.ones((100, 1000), np.uint8))
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    command = [sys.executable, "-c", code, tmp_path / "x.h5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")  # and no crash while the process ends
    assert done.stdout.split() == ["EFBIG"] * 5
    assert not list(tmp_path.iterdir())


@pytest.fixture
def traps(tmp_path):
    """Data sets that are not what they seem."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.arange(10.0)
    path = tmp_path / "traps.h5"
    with h5py.File(path, "w") as file:
        file["soft"] = h5py.SoftLink("/good")
        file["external"] = h5py.ExternalLink("other.h5", "/secret")
        layout = h5py.VirtualLayout((10,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (10,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (10,), "f8", external=[(str(tmp_path / "other.h5"), 0, 80)])
        file["text"] = np.array([b"x"])
        file["group/inner"] = 1
        file.create_dataset("vast", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip")
        file.create_dataset("unwritten", (10,), "f4")
        file["good"] = np.arange(10.0)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "holds no data set 'none'"),
        ("soft", "'soft' is a link"),
        ("external", "'external' is a link"),
        ("virtual", "'virtual' lies in another file"),
        ("raw", "'raw' lies in another file"),
        ("text", "'text' holds no numbers"),
        ("group", "'group' is no data set"),
        ("vast", "'vast' of 4398046511104 bytes has 0 in the file"),
        ("unwritten", "'unwritten' of 40 bytes has 0 in the file"),
    ],
)
def test_only_numbers_of_the_file_itself_are_read(traps, name, message):
    with pytest.raises(UserError, match=message), open_hdf5(traps, "test file", "make it") as file:
        read_dataset(file, name)
    with open_hdf5(traps, "test file", "make it") as file:
        assert read_dataset(file, "good", ndim=1)[3] == 3
        with pytest.raises(ValueError, match=r"shape \(10,\), not 2 axes"):
            find_dataset(file, "good", ndim=2)


def test_what_does_not_fit_memory_is_no_damage(traps, monkeypatch):
    monkeypatch.setattr("fastsep.data.residency.free_bytes", lambda device: 50)
    with (
        pytest.raises(UserError, match=r"'good' of .*traps.h5 takes 0\.00 MB of memory, 0\.00 MB are free"),
        open_hdf5(traps, "", "") as f,
    ):
        read_dataset(f, "good")


def test_changed_values_do_not_fit_the_checksum(tmp_path):
    write(tmp_path / "x.h5", np.ones((4, 5), np.float32))
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["a"][3] = 2
        file["b"].attrs["crc32"] = 5
    with h5py.File(tmp_path / "x.h5") as file:
        for name in ("a", "b"):
            with pytest.raises(ValueError, match=f"values of '{name}' do not fit their checksum"):
                read_dataset(file, name)
