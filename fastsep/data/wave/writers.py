"""Writes WaveEq in two formats, whole or not at all.

Letters: T frames, H rows, W columns.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch

from fastsep import __version__, signals
from fastsep.data.formats.hdf5_stream import Rows, hdf5_stream
from fastsep.data.wave.files import C_RANGE, F0_RANGE, HDF5_NAME, PT_FOLDER, PT_PATTERN, WaveSettings, pixels
from fastsep.errors import UserError
from fastsep.files import make_directory, sync_directory
from fastsep.locks import lock
from fastsep.streams import stream_inside, sync_inside

_FLUSHES = 16  # at a time
_PIXELS = ("rand_w.pt", "rand_h.pt")


class Writer(Protocol):
    """Takes sequences (count, T, H, W) float32 at their places, from several threads at once."""

    @property
    def written(self) -> int:
        """How many it has."""

    def write_at(self, first: int, chunk: np.ndarray) -> None: ...


@contextmanager
def write_hdf5(folder: Path, settings: WaveSettings, f0: np.ndarray, c: np.ndarray) -> Iterator[Writer]:
    """One file ``wave.h5``, which appears when the block ends well.

    Raises:
        OSError: it cannot be written.
        UserError: there is a set of .pt files, which it would be read in place of.
    """
    for place in (folder, folder / PT_FOLDER):
        if place.is_dir() and any(PT_PATTERN.fullmatch(name) for name in os.listdir(place)):
            raise UserError(
                f"{place} holds a set of .pt files, in place of which {folder / HDF5_NAME} would be read: choose "
                "another --out, or move it away"
            )
    s = settings
    rows, columns = pixels(s.grid)
    arrays = {"c": c, "f0": f0, "pixel_rows": rows, "pixel_columns": columns}
    sequences = Rows((s.size, s.frames, s.grid, s.grid), np.dtype(np.float32))
    with hdf5_stream(folder / HDF5_NAME, _attributes(s), arrays, "simulations", sequences) as out:
        yield out


@contextmanager
def write_pt(folder: Path, settings: WaveSettings, f0: np.ndarray, c: np.ndarray) -> Iterator[Writer]:
    """The authors' layout: ``data/homogenous_wave{i}.pt`` (``simul``, ``c``) and pixels ``rand_w.pt``, ``rand_h.pt``.

    The files are collected in a folder within it and moved when all are there; those of an older set go.

    Raises:
        OSError: they cannot be written.
        UserError: there are files that another program made, or that would be read in their place.
    """
    _require_none_read_before(folder)
    target = folder / PT_FOLDER
    _require_own(target)
    part = target / ".part"  # on the disk of the set, wherever a link leads: files are moved within one alone
    with _made_for_good(target), lock(target / ".lock"):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            for name, index in zip(_PIXELS, pixels(settings.grid), strict=True):
                _save(torch.from_numpy(index), part / name)
            yield _PtWriter(part, f0, c)
            with ThreadPoolExecutor(_FLUSHES) as pool:  # one after the other, each would wait for the disk's own cache
                for _ in pool.map(sync_inside, part.iterdir()):
                    pass
            with signals.held():
                _replace_set(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


class _PtWriter:
    def __init__(self, part: Path, f0: np.ndarray, c: np.ndarray):
        self._part, self._f0, self._c = part, f0, c
        self._lock = threading.Lock()
        self.written = 0

    def write_at(self, first: int, chunk: np.ndarray) -> None:
        for i, frames in enumerate(chunk, start=first):
            sequence = {"simul": torch.from_numpy(frames), "c": float(self._c[i]), "f0": float(self._f0[i])}
            _save(sequence, self._part / f"homogenous_wave{i}.pt")
        with self._lock:
            self.written += len(chunk)


def _save(value: Any, path: Path) -> None:
    with stream_inside(path) as file:
        sink = _Sink(file)
        torch.save(value, sink)
        if sink.error:
            raise sink.error


class _Sink:
    """What PyTorch writes to. It would say neither why nor where a file cannot be written, so it never hears of it."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.error: OSError | None = None

    def write(self, data: memoryview) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        pass


@contextmanager
def _made_for_good(folder: Path) -> Iterator[None]:
    """Make a directory, wherever a link leads; if nothing comes to lie in it, it goes again."""
    place = Path(os.path.realpath(folder))
    made = not place.exists()
    try:
        make_directory(place)
        yield
    finally:
        if made:
            with suppress(OSError):
                place.rmdir()


def _require_none_read_before(folder: Path) -> None:
    """Raise UserError for data that ``open_frames`` finds before a set in ``data``."""
    names = os.listdir(folder) if folder.is_dir() else []
    found = sorted(name for name in names if PT_PATTERN.fullmatch(name))
    found += [HDF5_NAME] if (folder / HDF5_NAME).is_file() else []
    if found:
        raise UserError(
            f"{folder / found[-1]} is there and would be read in place of a new set in {folder / PT_FOLDER}: choose "
            "another --out, or move it away"
        )


def _require_own(folder: Path) -> None:
    sequences = [path for path in sorted(folder.glob("*.pt")) if PT_PATTERN.fullmatch(path.name)]
    pixels_alone = [] if sequences else [path for path in map(folder.joinpath, _PIXELS) if path.exists()]
    for path in sequences + pixels_alone:
        if path in pixels_alone or not _is_own(path):
            whose = "lies there without its sequences" if path in pixels_alone else "was not made by this program"
            raise UserError(
                f"{path} {whose}, and a new set would replace all such files: choose another --out, or move them away"
            )


def _is_own(path: Path) -> bool:
    try:
        return "f0" in torch.load(path, map_location="cpu", weights_only=True, mmap=True)  # the authors' have none
    except Exception:  # whatever it is
        return False


def _replace_set(part: Path, folder: Path) -> None:
    new = {path.name for path in part.iterdir()}
    for name in sorted(new):
        os.replace(part / name, folder / name)
    for old in folder.iterdir():
        if PT_PATTERN.fullmatch(old.name) and old.name not in new:
            old.unlink()
    sync_directory(folder)


def _attributes(settings: WaveSettings) -> dict[str, Any]:
    return asdict(settings) | {
        "dx": 1.0,
        "c_range": C_RANGE,
        "f0_range": F0_RANGE,
        "source_centre": (settings.grid // 2, settings.grid // 2),
        "source_radius": 5.0,
        "source_decay": 20.0,
        "integrator": "Runge-Kutta, 3/8 rule, float32",
        "stencil": "fourth order, zero in the two outermost cells of each axis",
        "pixel_seed": 42,
        "fastsep_version": __version__,
    }
