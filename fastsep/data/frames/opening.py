"""Opens any file or folder of frames; what it holds decides how, not what it is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Contents
from fastsep.data.frames.choice import choose
from fastsep.data.frames.folder import open_folder
from fastsep.data.frames.hdf5 import open_hdf5
from fastsep.data.frames.layout import check_layout
from fastsep.data.frames.netcdf3 import open_netcdf3
from fastsep.data.frames.npy import MAGIC, open_npy
from fastsep.data.frames.npz import open_npz
from fastsep.data.frames.source import Source
from fastsep.data.frames.stacked import StackedSource
from fastsep.data.frames.well import arrange_well, is_well
from fastsep.errors import UserError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_KNOWN = "HDF5, NetCDF, .npy, .npz, Zarr"


def open_source(path: Path, variables: Sequence[str] = (), layout: str | None = None) -> Source:
    """The frames of a file or folder, not yet read.

    Args:
        path: HDF5, NetCDF, ``.npy`` or ``.npz``; a Zarr store, a folder of ``.npy`` or one of The Well.
        variables: names of arrays, to be stacked as channels; of HDF5 groups with slashes. Of none, the only array
            that can be frames is taken.
        layout: a letter for each axis (``fastsep.data.frames.layout``); None lets the file or the sizes tell.

    Raises:
        UserError: there is nothing, it is damaged or something else, or it is not clear what is meant.
    """
    path = Path(path)
    layout = check_layout(layout) if layout is not None else None
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} does not exist: give the path of a file or folder of frames") from None
    except OSError as error:
        raise UserError(f"{path} cannot be reached ({error.strerror}): mend the rights, or give another path") from None
    if path.is_dir():
        return open_folder(path, tuple(variables), layout)
    contents = _open_file(path)
    try:
        if is_well(contents):
            contents = arrange_well(contents)
        return StackedSource(contents, choose(contents, tuple(variables), layout))
    except BaseException:
        contents.close()
        raise


def open_as_trained(path: Path, variables: Sequence[str], layout: str | None) -> Source:
    """The same; of a file whose only array has no name, that one stands for the variables.

    Args:
        variables: of the file that a run was trained on.
    """
    try:
        return open_source(path, variables, layout)
    except UserError:
        for axes in dict.fromkeys((layout, _with_channels(layout) if len(variables) > 1 else layout)):
            with suppress(UserError):
                source = open_source(path, (), axes)
                if not source.names:
                    return source
                source.close()
        raise


def _with_channels(layout: str | None) -> str | None:
    """The axes of arrays like those that ``layout`` is of, stacked as channels."""
    if layout is None or "c" in layout:
        return layout
    space = min(layout.find(axis) for axis in "hwp" if axis in layout)
    return f"{layout[:space]}c{layout[space:]}"


def _open_file(path: Path) -> Contents:
    with reading(path, "file of frames", REMEDY), open(path, "rb") as file:
        start = file.read(4096)
        opening = _by_start(start)
        for offset in (512, 1024, 2048, 4096, 8192):  # HDF5 leaves room for somebody else's header
            file.seek(offset)
            if opening is None and file.read(len(_HDF5)) == _HDF5:
                opening = open_hdf5
    if opening is None:
        raise UserError(_unknown(path, start))
    return opening(path)


def _by_start(start: bytes):
    if start.startswith(MAGIC):
        return open_npy
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return open_npz
    if start.startswith(_HDF5):
        return open_hdf5
    return open_netcdf3 if start.startswith(b"CDF") else None


def _unknown(path: Path, start: bytes) -> str:
    if not start:
        return f"{path} is empty: {REMEDY}"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"{path} is a pickle, which can run code and is never loaded: save the array with numpy.save"
    try:
        start.decode()
        held = "text" if b"\0" not in start else "something else"
    except UnicodeDecodeError:
        held = "something else"
    return f"{path} holds {held}, not frames ({_KNOWN}): give a file of frames, or write them with numpy.save"
