"""Files of WaveEq: the draws behind them, two formats, written whole or not at all, and read in pieces.

Letters: S sequences, T frames, H rows, W columns.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from fastsep import __version__
from fastsep.errors import UserError

F0_RANGE = (1.0, 30.0)
C_RANGE = (300.0, 400.0)
HDF5_NAME = "wave.h5"
PT_FOLDER = "data"
_PT_PATTERN = re.compile(r"homogenous_wave(\d+)\.pt")


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


class Hdf5Writer:
    """One file ``wave.h5``; a context manager that renames it into place when all went well."""

    def __init__(self, folder: Path, settings: WaveSettings, f0: np.ndarray, c: np.ndarray):
        self.path = folder / HDF5_NAME
        self._part = folder / (HDF5_NAME + ".part")
        self._settings, self._f0, self._c = settings, f0, c

    def __enter__(self) -> Hdf5Writer:
        s = self._settings
        try:
            self._file = h5py.File(self._part, "w")
        except BlockingIOError:
            raise UserError(f"another run is writing {self._part}: wait for it or choose another --out") from None
        try:
            self._file.attrs.update(_attributes(s))
            self._file["c"], self._file["f0"] = self._c, self._f0
            self._file["pixel_rows"], self._file["pixel_columns"] = pixels(s.grid)
            shape = (s.size, s.frames, s.grid, s.grid)
            self._frames = self._file.create_dataset("simulations", shape, np.float32)
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def write(self, first: int, chunk: np.ndarray) -> None:
        """Write sequences ``first`` and following, (count, T, H, W)."""
        self._frames[first : first + len(chunk)] = chunk

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            self._file.close()
            if kind is None:
                _sync(self._part)
                os.replace(self._part, self.path)
        finally:
            self._part.unlink(missing_ok=True)


class PtWriter:
    """The authors' layout: ``data/homogenous_wave{i}.pt`` (``simul``, ``c``) and pixels ``rand_w.pt``, ``rand_h.pt``.

    The files are collected in a folder beside it and moved when all are there; those of an older set go.
    """

    def __init__(self, folder: Path, settings: WaveSettings, f0: np.ndarray, c: np.ndarray):
        self.path = folder / PT_FOLDER
        self._part = folder / (PT_FOLDER + ".part")
        self._settings, self._f0, self._c = settings, f0, c

    def __enter__(self) -> PtWriter:
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir()
        try:
            for name, index in zip(("rand_w", "rand_h"), pixels(self._settings.grid), strict=True):
                torch.save(torch.from_numpy(index), self._part / f"{name}.pt")
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def write(self, first: int, chunk: np.ndarray) -> None:
        """Write sequences ``first`` and following, (count, T, H, W)."""
        for i, frames in enumerate(chunk, start=first):
            path = self._part / f"homogenous_wave{i}.pt"
            torch.save(
                {"simul": torch.from_numpy(frames.copy()), "c": float(self._c[i]), "f0": float(self._f0[i])}, path
            )
            _sync(path)

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            if kind is None:
                self.path.mkdir(exist_ok=True)
                new = {path.name for path in self._part.iterdir()}
                for old in self.path.iterdir():
                    if _PT_PATTERN.fullmatch(old.name) and old.name not in new:
                        old.unlink()
                for path in self._part.iterdir():
                    os.replace(path, self.path / path.name)
        finally:
            shutil.rmtree(self._part, ignore_errors=True)


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


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


class Hdf5Frames:
    """Sequences of an HDF5 file; ``read`` gives some of them."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with h5py.File(path) as file:
                if "simulations" not in file:
                    raise UserError(
                        f"{path} holds no data set 'simulations': make the file with python -m fastsep.gen_wave"
                    )
                self.shape = tuple(file["simulations"].shape)
                if file["simulations"].dtype.kind not in "fiu":
                    raise UserError(f"the data set 'simulations' of {path} holds no numbers: make the file anew")
        except OSError as error:
            raise _damaged(path, error) from None
        _check_shape(path, self.shape)

    def read(self, first: int, count: int) -> Tensor:
        """Sequences ``first`` to ``first + count``, (count, T, H, W) float32."""
        try:
            with h5py.File(self.path) as file:
                return torch.from_numpy(np.asarray(file["simulations"][first : first + count], dtype=np.float32))
        except OSError as error:
            raise _damaged(self.path, error) from None


class PtFrames:
    """Sequences of the authors' ``homogenous_wave{i}.pt`` files, in the order of i."""

    def __init__(self, folder: Path):
        numbered = {int(m[1]): path for path in folder.iterdir() if (m := _PT_PATTERN.fullmatch(path.name))}
        missing = sorted(set(range(len(numbered))) - set(numbered))
        if missing:
            raise UserError(
                f"{folder / f'homogenous_wave{missing[0]}.pt'} is missing: complete the set or make it anew"
            )
        self._paths = [numbered[i] for i in range(len(numbered))]
        self.shape = (len(self._paths), *self._load(self._paths[0]).shape)
        _check_shape(self._paths[0], self.shape)

    def read(self, first: int, count: int) -> Tensor:
        """Sequences ``first`` to ``first + count``, (count, T, H, W) float32."""
        sequences = []
        for path in self._paths[first : first + count]:
            frames = self._load(path)
            if tuple(frames.shape) != self.shape[1:]:
                raise UserError(
                    f"{path} holds {tuple(frames.shape)} and the first file {self.shape[1:]}: make the set anew"
                )
            sequences.append(frames)
        return torch.stack(sequences)

    @staticmethod
    def _load(path: Path) -> Tensor:
        try:
            frames = torch.load(path, map_location="cpu", weights_only=True)["simul"]
            return torch.as_tensor(frames, dtype=torch.float32).squeeze()
        except Exception as error:  # torch.load raises many kinds for damaged files
            raise _damaged(path, error) from None


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
        if folder.is_dir() and any(_PT_PATTERN.fullmatch(entry.name) for entry in folder.iterdir()):
            return PtFrames(folder)
    what = f"{path} holds no {HDF5_NAME} and no homogenous_wave*.pt" if path.is_dir() else f"{path} does not exist"
    raise UserError(f"{what}: make the data with python -m fastsep.gen_wave --out {path}")


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
        raise UserError(
            f"{path} holds an array of shape {shape} where (sequences, frames, n, n) is needed: make the file anew"
        )


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:120]
    return UserError(
        f"{path} cannot be read ({reason}): it is truncated or damaged, make it anew with python -m fastsep.gen_wave"
    )
