"""Folders of frames: a Zarr store, a sequence of frames in each of many ``.npy``, or the files of The Well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fastsep.data.formats.listing import natural_key
from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Contents
from fastsep.data.frames.choice import choose
from fastsep.data.frames.hdf5 import open_hdf5
from fastsep.data.frames.joined import JoinedSource
from fastsep.data.frames.npy import open_npy
from fastsep.data.frames.source import Source
from fastsep.data.frames.stacked import StackedSource
from fastsep.data.frames.well import arrange_well, is_well
from fastsep.data.frames.zarr_store import MARKS, open_zarr
from fastsep.errors import UserError

_HDF5 = (".h5", ".hdf5")


def open_folder(path: Path, variables: Sequence[str], layout: str | None) -> Source:
    """The frames in a folder. Raises UserError as ``open_source``."""
    with reading(path, "folder", REMEDY, folder=True):
        names = sorted((entry.name for entry in path.iterdir()), key=natural_key)
    if any(mark in names for mark in MARKS):
        contents = open_zarr(path)
        return StackedSource(contents, choose(contents, variables, layout))
    numpy = [path / name for name in names if name.endswith(".npy") and not name.startswith(".")]
    hdf5 = [path / name for name in names if name.endswith(_HDF5) and not name.startswith(".")]
    if numpy and hdf5:
        raise UserError(f"{path} holds {len(numpy)} .npy and {len(hdf5)} HDF5 files: give a folder of one kind")
    if numpy:
        return _join(path, numpy, _one_sequence, variables, layout)
    if hdf5:
        return _join(path, hdf5, _of_the_well, variables, layout)
    if (path / "data" / "train").is_dir():  # as The Well ships its data sets
        raise UserError(f"{path} holds several parts of a data set: give one, such as {path / 'data' / 'train'}")
    pictures = any(name.lower().endswith((".png", ".jpg", ".jpeg", ".tif", ".tiff")) for name in names)
    give = (
        "stack the pictures into one .npy, frames first, or give a file" if pictures else "give a file or such a folder"
    )
    raise UserError(
        f"{path} holds neither a Zarr store nor .npy files nor those of The Well, but "
        f"{', '.join(names[:8]) + (' and more' if len(names) > 8 else '') or 'nothing'}: {give}"
    )


def _join(
    path: Path, files: list[Path], open_one: Callable[[Path], Contents], variables: Sequence[str], layout: str | None
) -> Source:
    parts = []
    for file in files:
        contents = open_one(file)
        axes = layout
        if axes and contents.one_sequence and axes[0] == "n" and len(axes) == len(contents.arrays[0].shape) + 1:
            axes = axes[1:]  # the files are the sequences
        parts.append(StackedSource(contents, choose(contents, variables, axes)))
        if len(files) > 1:
            contents.close()
    return JoinedSource(path, parts) if len(parts) > 1 else parts[0]


def _one_sequence(file: Path) -> Contents:
    return replace(open_npy(file), one_sequence=True)


def _of_the_well(file: Path) -> Contents:
    contents = open_hdf5(file)
    if not is_well(contents):
        contents.close()
        raise UserError(f"{file} is not laid out as the files of The Well: give one file, or join them along an axis")
    return arrange_well(contents)
