"""Files that are no frames, or cannot be, are refused in one line that says what they are."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from frames_files import write_well

from fastsep.data.frames.opening import open_source
from fastsep.errors import UserError

FRAMES = np.random.default_rng(0).random((3, 7, 8, 8), np.float32)


def npy(values: object) -> Callable[[Path], None]:
    return lambda path: np.save(path, values, allow_pickle=True)


def hdf5(**arrays: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name.replace("__", "/")] = values

    return write


def half_written(path: Path, **options) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("u", FRAMES.shape, "f4", **options)
        if "chunks" in options:
            data[:2] = FRAMES[:2]


def virtual(path: Path) -> None:
    hdf5(u=FRAMES)(path.with_name("other.h5"))
    layout = h5py.VirtualLayout(FRAMES.shape, "f4")
    layout[...] = h5py.VirtualSource(path.with_name("other.h5"), "u", FRAMES.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("u", layout)


def store(version: int, lost: str = "", **options) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = zarr.create_array(path, shape=FRAMES.shape, dtype="f4", chunks=(1, 7, 8, 8), zarr_format=version,
                                 **options)  # fmt: skip
        data[...] = FRAMES
        if lost:
            (path / lost).unlink()

    return write


def codec_that_runs_code(path: Path) -> None:
    store(2)(path)
    settings = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps(settings | {"filters": [{"id": "pickle"}]}))


def folder(**files: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.mkdir()
        for name, make in files.items():
            make(path / name.replace("_", "."))

    return write


def text(path: Path) -> None:
    path.write_text("t, x, y\n0, 1, 2\n" * 99)


def cut(write: Callable[[Path], None], size: int) -> Callable[[Path], None]:
    def write_and_cut(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[:size])

    return write_and_cut


REFUSED = {
    "absent.npy": (lambda path: None, "does not exist: give the path of a file or folder of frames"),
    "empty.npy": (lambda path: path.write_bytes(b""), "is empty"),
    "text.npy": (text, "holds text, not frames"),
    "text.h5": (text, "holds text, not frames"),
    "five.nc": (lambda path: path.write_bytes(b"CDF\x05" + bytes(99)), "is NetCDF-5: convert it with nccopy"),
    "picture.h5": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff"), "holds something else, not frames"),
    "pickle.npy": (lambda path: path.write_bytes(pickle.dumps(FRAMES)), "is a pickle, which can run code"),
    "object.npy": (npy(np.array([FRAMES, None], object)), "holds Python objects: .* never loaded"),
    "object.npz": (lambda path: np.savez(path, u=np.array([0, None], object)), "'u' holds Python objects"),
    "complex.npy": (npy(FRAMES.astype(complex)), "holds complex numbers: save their real and imaginary parts"),
    "strings.npy": (npy(np.array([["a", "b"]])), "holds texts"),
    "dates.npy": (npy(np.zeros((3, 4), "M8[s]")), "holds dates"),
    "records.npy": (npy(np.zeros((3, 4), [("a", "f4")])), "holds records"),
    "line.npy": (npy(np.zeros(9)), r"an array \(9,\): frames have 2 to 5 axes .* not 1"),
    "many.npy": (npy(np.zeros((1,) * 6)), "frames have 2 to 5 axes .* not 6"),
    "nothing.npy": (npy(np.zeros((0, 5, 6))), r"is empty, its shape is \(0, 5, 6\)"),
    "cut.npy": (cut(npy(FRAMES), -9), "not a whole NumPy file .its array of 5376 bytes has 5367"),
    "cut.npz": (cut(lambda path: np.savez(path, u=FRAMES), -9), "not a whole NumPy archive"),
    "none.npz": (np.savez, "holds no array of frames: it has nothing"),
    "cut.h5": (cut(hdf5(u=FRAMES), 3000), "not a whole HDF5 file"),
    "none.h5": (hdf5(), "holds no array of frames: it has nothing"),
    "beside.h5": (hdf5(time=np.arange(3), note="x", lat=np.zeros((4, 4))),
                  r"no array of frames: it has lat \(4, 4\), note \(\) of texts, time \(3,\)"),
    "complex.h5": (hdf5(u=FRAMES.astype(complex)), "'u' holds complex numbers"),
    "null.h5": (hdf5(u=h5py.Empty("f4")), "'u' is empty"),
    "two.h5": (hdf5(u=FRAMES, a__v=FRAMES, x=np.arange(8)),
               r"several arrays .* --variable: a/v \(3, 7, 8, 8\), u \(3, 7, 8, 8\)$"),
    "virtual.h5": (virtual, "'u' lies in another file"),
    "unwritten.h5": (half_written, "'u' has 0 of its 5376 bytes: let its writer finish"),
    "half.h5": (lambda path: half_written(path, chunks=(1, 7, 8, 8)), "'u' has 2 of its 3 chunks"),
    "lost3.zarr": (store(3, "c/1/0/0/0"), "lacks chunk c/1/0/0/0 and reads as 0.0 there: copy it again, or"),
    "lost2.zarr": (store(2, "1.0.0.0"), "lacks chunk 1.0.0.0 and reads as 0.0 there"),
    "undefined.zarr": (store(2, "1.0.0.0", fill_value=None), "lacks chunk 1.0.0.0 and reads as undefined numbers"),
    "harmful.zarr": (codec_that_runs_code, "is packed by 'pickle', which is not read"),
    "none.zarr": (lambda path: zarr.open_group(path, mode="w"), "not a whole Zarr store .it holds no array"),
    "nothing": (folder(), "holds neither a Zarr store nor .npy files nor those of The Well, but nothing"),
    "others": (folder(a_txt=text, b_csv=text), "but a.txt, b.csv: give"),
    "mixed": (folder(a_npy=npy(FRAMES[0]), b_h5=hdf5(u=FRAMES)), "holds 1 .npy and 1 HDF5 files"),
    "plain": (folder(b_h5=hdf5(u=FRAMES)), "b.h5 is not laid out as the files of The Well"),
    "ragged": (folder(a_npy=npy(FRAMES[0]), b_npy=npy(FRAMES[0, :, :4])),
               r"b.npy holds 7 frames \(1, 4, 8\), a.npy holds 7 frames \(1, 8, 8\)"),
    "textual": (folder(a_npy=npy(FRAMES[0]), b_npy=text), "b.npy is not a whole NumPy file"),
    "pipe.npy": (os.mkfifo, "is no regular file"),
    "link.npy": (lambda path: path.symlink_to("nowhere"), "does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_in_one_line(name, tmp_path):
    make, says = REFUSED[name]
    make(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        open_source(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / name)) and "\n" not in message
    assert re.search(says, message), message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("variables", "layout", "says"),
    [
        (("q",), None, r"holds no array 'q': it has a/v \(2, 7, 8, 8\), u \(3, 7, 8, 8\), w \(3, 7, 8\)"),
        (("u", "w"), None, r"different shapes cannot be channels together: u \(3, 7, 8, 8\), w \(3, 7, 8\)"),
        (("u",), "thw", r"u \(3, 7, 8, 8\) has 4 axes, --layout thw names 3"),
        (("u",), "nthx", "'nthx' is no layout: name each axis by a letter"),
        (("u",), "nchw", "'nchw' is no layout"),
        (("u",), "nthh", "'nthh' is no layout"),
        (("u",), "nthwp", "'nthwp' is no layout"),
        ((), "ntp", None),
        (("/v",), "NTHW", None),
    ],
)
def test_variables_and_layouts(variables, layout, says, tmp_path):
    hdf5(u=FRAMES, a__v=FRAMES[:2], w=FRAMES[:, :, 0])(tmp_path / "x.h5")
    if says is None:
        assert open_source(tmp_path / "x.h5", variables, layout).layout == layout.lower()
        return
    with pytest.raises(UserError, match=says):
        open_source(tmp_path / "x.h5", variables, layout)


@pytest.mark.parametrize(
    ("name", "write"),
    [("npy", npy(FRAMES)), ("npz", lambda path: np.savez(path, u=FRAMES)), ("h5", hdf5(u=FRAMES)), ("2", store(2)),
     ("3", store(3))],
)  # fmt: skip
def test_files_that_go_while_they_are_read(name, write, tmp_path):
    write(tmp_path / f"x.{name}")
    source = open_source(tmp_path / f"x.{name}")
    np.testing.assert_array_equal(source.read(1, 2, 3)[:, 0], FRAMES[1, 2:5])
    for file in tmp_path.rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(UserError, match=r"does not exist|went away"):
        source.read(2, 0, 3)


def test_a_replaced_file_is_not_read_as_the_old_one(tmp_path):
    np.save(tmp_path / "x.npy", FRAMES)
    source = open_source(tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", FRAMES + 1)
    (tmp_path / "y.npy").rename(tmp_path / "x.npy")
    with pytest.raises(UserError, match="it changed while it was in use"):
        source.read(0, 0, 3)


def test_parts_of_a_data_set_of_the_well(tmp_path):
    (tmp_path / "set" / "data" / "train").mkdir(parents=True)
    write_well(tmp_path / "set" / "data" / "train" / "x.hdf5")
    with pytest.raises(UserError, match=r"give one, such as .*/set/data/train$"):
        open_source(tmp_path / "set")
    assert open_source(tmp_path / "set" / "data" / "train").sequences == 2


def test_the_package_that_zarr_needs_is_named(tmp_path, monkeypatch):
    store(3)(tmp_path / "x.zarr")
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(UserError, match=r"needs zarr, which is not installed: pip install zarr, or .* -e '\.\[zarr\]'"):
        open_source(tmp_path / "x.zarr")


def test_only_the_chosen_array_of_a_store_has_to_be_whole(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.create_array("u", data=FRAMES, dimension_names=["n", "t", "y", "x"])
    group.create_array("v", data=FRAMES)
    group.create_array("x", data=np.arange(1, 9), dimension_names=["x"])
    group.create_array("y", data=np.arange(1, 9), dimension_names=["y"])
    (tmp_path / "x.zarr" / "v" / "c" / "0" / "0" / "0" / "0").unlink()
    (tmp_path / "x.zarr" / "y" / "c" / "0").unlink()
    source = open_source(tmp_path / "x.zarr", ("u",))
    np.testing.assert_array_equal(source.read(0, 0, 7)[:, 0], FRAMES[0])
    assert set(source.coordinates) == {"x"}
    with pytest.raises(UserError, match="'v' lacks chunk c/0/0/0/0"):
        open_source(tmp_path / "x.zarr", ("v",))


def test_what_cannot_be_looked_at_is_not_called_missing(tmp_path) -> None:
    with pytest.raises(UserError, match=r"cannot be reached \(File name too long\): mend the rights"):
        open_source(tmp_path / ("x" * 300))
