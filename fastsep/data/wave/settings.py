"""Settings of WaveEq and of WaveEq-100."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from fastsep.data.appearance import Appearance
from fastsep.data.base import DataConfig
from fastsep.settings import AT_RESUME, NumPySeed, Range

DATA_SEED = 42
"""Of the sequences: the authors'."""


def _appearance(title: str) -> Appearance:
    return Appearance(title, "displacement, scaled to 0..1", step="frames of 2 ms")


@dataclass(frozen=True)
class Wave(DataConfig):
    """Waves on a 64x64 grid, each sequence scaled to [0, 1], every second frame kept."""

    name: ClassVar[str] = "wave"
    module: ClassVar[str] = "fastsep.data.wave.reader"
    protocol: ClassVar[str] = "fastsep.evaluation.protocols:WaveProtocol"
    appearance: ClassVar[Appearance] = _appearance("WaveEq")
    points: ClassVar[bool] = False

    data: Annotated[Path | None, AT_RESUME] = None
    """HDF5 file, or folder with wave.h5 or the authors' .pt files [make the data in memory at start]."""
    size: Annotated[int, Range(1, 10_000_000)] = 300
    """Sequences made in memory; the first 80% train, the others test."""
    frames: Annotated[int, Range(1, 1_000_000)] = 300
    """Frames made of each sequence, every second of which is kept."""
    data_seed: NumPySeed = DATA_SEED
    """Seed of source strengths and wave speeds."""
    windows: Literal["all", "published"] = "all"
    """Training windows: all, or the first ones up to the number that the published schedule saw. Testing uses all."""

    def files(self) -> list[Path]:
        if self.data is None or not self.data.is_dir() or (self.data / "wave.h5").is_file():
            return [self.data / "wave.h5" if self.data.is_dir() else self.data] if self.data else []
        return sorted(self.data.glob("homogenous_wave*.pt")) or sorted(self.data.glob("data/homogenous_wave*.pt"))

    def refusal(self, path: Path) -> str:
        from fastsep.data.wave.files import is_simulated  # settings are read without PyTorch

        if not is_simulated(path):
            return ""
        return (
            f"{path} holds waves as they are simulated, the run takes every second frame of sequences scaled to 0..1: "
            "give such frames, or score the file with python -m fastsep.evaluate RUN --data"
        )


@dataclass(frozen=True)
class Wave100(Wave):
    """The same waves seen at 100 fixed pixels, scaled by the whole frames."""

    name: ClassVar[str] = "wave100"
    appearance: ClassVar[Appearance] = _appearance("WaveEq-100")
    points: ClassVar[bool] = True
