"""Files of WaveEq: the draws behind them, and two formats, read in pieces.

Letters: S sequences, T frames, H rows, W columns.
"""

from __future__ import annotations

import io
import math
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastsep.data.formats.hdf5 import find_dataset, open_hdf5, read_attribute, row_checksums, verify_rows
from fastsep.data.formats.reading import reading
from fastsep.errors import UserError

F0_RANGE = (1.0, 30.0)
C_RANGE = (300.0, 400.0)
HDF5_NAME = "wave.h5"
PT_FOLDER = "data"
PT_PATTERN = re.compile(r"homogenous_wave(\d+)\.pt")
_SEQUENCES = "simulations"
_HDF5 = "HDF5 file of waves"
_REMEDY = "make it with python -m fastsep.gen_wave, or give other data"
_REAL = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class WaveSettings:
    """What a set of sequences is made from."""

    size: int = 300
    frames: int = 300
    grid: int = 64
    dt: float = 1e-3
    seed: int = 42

    @property
    def sequence_bytes(self) -> int:
        """Bytes of one sequence in float32."""
        return self.frames * self.grid * self.grid * 4


def draw(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Source strengths f0 and wave speeds c of ``size`` sequences, (S,) float64 each, as the authors drew them."""
    low, high = zip(F0_RANGE, C_RANGE, strict=True)
    f0_c = np.random.RandomState(seed).uniform(low, high, size=(size, 2))
    return f0_c[:, 0].copy(), f0_c[:, 1].copy()


def pixels(grid: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the 100 pixels of WaveEq-100, (100,) int64 each."""
    random = np.random.RandomState(42)
    return random.randint(grid, size=100), random.randint(grid, size=100)


class Hdf5Frames:
    """Sequences of an HDF5 file; ``read`` gives some of them."""

    def __init__(self, path: Path):
        self.path = path
        with open_hdf5(path, _HDF5, _REMEDY) as file:
            data = find_dataset(file, _SEQUENCES)
            self.shape = tuple(data.shape)
            self._sums = row_checksums(data)
        _check_shape(path, self.shape)

    def read(self, first: int, count: int) -> Tensor:
        """Sequences ``first`` to ``first + count``, (count, T, H, W) float32."""
        with open_hdf5(self.path, _HDF5, _REMEDY) as file:
            data = find_dataset(file, _SEQUENCES)
            if data.shape != self.shape:
                raise ValueError("it changed while it was read")
            frames = data[first : first + count]
            if self._sums is not None:
                verify_rows(frames, self._sums, first, "sequence")
            with np.errstate(over="ignore"):  # what becomes infinite is refused later
                return torch.from_numpy(np.asarray(frames, np.float32))


class PtFrames:
    """Sequences of the authors' ``homogenous_wave{i}.pt`` files, in the order of i."""

    def __init__(self, folder: Path):
        numbered = {int(m[1]): path for path in folder.iterdir() if (m := PT_PATTERN.fullmatch(path.name))}
        missing = sorted(set(range(len(numbered))) - set(numbered))
        if missing:
            raise UserError(
                f"{folder / f'homogenous_wave{missing[0]}.pt'} is missing: complete the set or make it anew"
            )
        self._paths = [numbered[i] for i in range(len(numbered))]
        self.shape = (len(self._paths), *load_sequence(self._paths[0]).shape)
        _check_shape(self._paths[0], self.shape)

    def read(self, first: int, count: int) -> Tensor:
        """Sequences ``first`` to ``first + count``, (count, T, H, W) float32."""
        sequences = []
        for path in self._paths[first : first + count]:
            frames = load_sequence(path)
            if tuple(frames.shape) != self.shape[1:]:
                raise UserError(
                    f"{path} holds {tuple(frames.shape)} and the first file {self.shape[1:]}: make the set anew"
                )
            sequences.append(frames)
        return torch.stack(sequences)


def load_sequence(path: Path) -> Tensor:
    """The frames of one of the authors' files, (T, H, W) float32; no code in the file is run.

    Raises:
        UserError: the file is not one of them, or damaged.
    """
    with reading(path, "file of a wave", _REMEDY):
        data = path.read_bytes()
        if data[:2] == b"PK":
            data = _verified(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch wonders at what is refused anyway
            frames = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)["simul"]
        if not isinstance(frames, Tensor) or frames.layout != torch.strided or frames.dtype not in _REAL:
            raise ValueError("'simul' holds no numbers")
        return frames.float().squeeze().contiguous()


def _verified(data: bytes) -> bytes:
    """An archive with the parts of another, all of which fit their checksums; PyTorch itself does not look at these.

    Raises:
        Exception: of many kinds, for a damaged archive.
    """
    copy = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(copy, "w") as checked:
        names = archive.namelist()
        if len(set(names)) < len(names) or any(part.compress_type for part in archive.infolist()):
            raise ValueError("PyTorch writes no such archives")
        for name in names:
            checked.writestr(name, archive.read(name))
    return copy.getvalue()


def open_frames(path: Path) -> Hdf5Frames | PtFrames:
    """What lies at ``path``: an HDF5 file, or a folder with ``wave.h5`` or the authors' files.

    Raises:
        UserError: nothing of that kind is there, or it is damaged or of the wrong shape.
    """
    if path.is_file():
        return Hdf5Frames(path)
    if (path / HDF5_NAME).is_file():
        return Hdf5Frames(path / HDF5_NAME)
    for folder in (path, path / PT_FOLDER):
        if folder.is_dir() and any(PT_PATTERN.fullmatch(entry.name) for entry in folder.iterdir()):
            return PtFrames(folder)
    what = f"{path} holds no {HDF5_NAME} and no homogenous_wave*.pt" if path.is_dir() else f"{path} does not exist"
    raise UserError(f"{what}: make the data with python -m fastsep.gen_wave --out {path}")


def is_simulated(path: Path) -> bool:
    """Whether ``gen_wave`` wrote the file there: displacement as it was simulated, neither scaled nor thinned out."""
    path = path / HDF5_NAME if path.is_dir() else path
    try:
        with open_hdf5(path, _HDF5, _REMEDY) as file:
            return _SEQUENCES in file and "dt" in file.attrs
    except UserError:
        return False


def time_step(path: Path) -> float | None:
    """Seconds between the frames of ``gen_wave``'s file there; None where it does not say."""
    path = path / HDF5_NAME if path.is_dir() else path
    try:
        with open_hdf5(path, _HDF5, _REMEDY) as file:
            seconds = float(read_attribute(file, "dt"))
    except UserError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
        raise UserError(f"{path} holds an array of shape {shape} where (sequences, frames, n, n) is needed: {_REMEDY}")
