"""The directory of zones that ``prepare_sst`` makes: replaced as a whole, and only where the old ones are its own."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from fastsep import signals
from fastsep.data.formats.hdf5 import read_attribute
from fastsep.data.sst.files import MADE_BY
from fastsep.errors import UserError
from fastsep.files import make_directory, sync_directory, write_problem
from fastsep.locks import lock

MANIFEST = "manifest.csv"
COLUMNS = ("zone", "row", "column", "south", "north", "west", "east")
"""Of the manifest."""
_ZONE = re.compile(r"data_\d+\.nc")
_MARKS_BEFORE = {"zone", "depth_m", "source"}  # of files that earlier versions made


@contextmanager
def replace_zones(out: Path) -> Iterator[Path]:
    """A folder to write zones and ``manifest.csv`` to, which take the place of all zones in ``out`` when the block ends
    well. Zones of an earlier, larger set go, so that they do not count among the new ones.

    Raises:
        UserError: ``out`` holds zones that this program did not make, another process prepares them, or it cannot be
            written. It is as it was then.
    """
    _refuse_foreign(out)
    made = not out.exists()
    part = out / ".zones.part"
    try:
        make_directory(out)
        with lock(out / ".zones.lock"):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                yield part
                with signals.held():
                    _swap(out, part)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise write_problem(out / MANIFEST, error, "choose another --out") from None
    finally:
        if made and out.exists() and not any(out.iterdir()):
            out.rmdir()


def _swap(out: Path, part: Path) -> None:
    """Old zones go first, so that whatever happens no set is a mixture of both."""
    for path in zones_in(out):
        path.unlink()
    for path in sorted(part.iterdir()):  # manifest.csv last
        os.replace(path, out / path.name)
    sync_directory(out)


def zones_in(folder: Path) -> list[Path]:
    """The files of a directory that are named like zones."""
    return [path for path in folder.iterdir() if _ZONE.fullmatch(path.name)] if folder.is_dir() else []


def _refuse_foreign(out: Path) -> None:
    foreign = [path for path in zones_in(out) if not _is_ours(path)]
    if foreign:
        raise UserError(
            f"{out} holds {len(foreign)} zones that prepare_sst did not make ({foreign[0].name} first): "
            "choose another --out"
        )
    listing = out / MANIFEST
    if listing.exists() and not _begins_with(listing, ",".join(COLUMNS)):
        raise UserError(f"{listing} is no list of zones that prepare_sst made: move it, or choose another --out")


def _begins_with(path: Path, text: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(text)) == text.encode()
    except OSError:
        return False


def _is_ours(path: Path) -> bool:
    try:
        with h5py.File(path) as file:
            return read_attribute(file, "made_by") == MADE_BY or set(file.attrs) >= _MARKS_BEFORE
    except Exception:  # damaged files raise every kind, and are nobody's
        return False
