"""The settings of every data set. Their readers, one module each, are imported when a data set is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from fastsep.data.base import DataConfig
from fastsep.errors import UserError
from fastsep.settings import AT_RESUME, Count, NumPySeed, Range, Settings

DIGIT_SIDE = 28
TEST_SEED = 42
"""Of Moving MNIST's test videos, and of the sequences of WaveEq: the authors'."""


@dataclass(frozen=True)
class Wave(DataConfig):
    """Waves on a 64x64 grid, each sequence scaled to [0, 1], every second frame kept."""

    name: ClassVar[str] = "wave"
    module: ClassVar[str] = "fastsep.data.wave"
    points: ClassVar[bool] = False

    data: Annotated[Path | None, AT_RESUME] = None
    """HDF5 file, or folder with wave.h5 or the authors' .pt files [make the data in memory at start]."""
    size: Annotated[int, Range(1, 10_000_000)] = 300
    """Sequences made in memory; the first 80% train, the others test."""
    frames: Annotated[int, Range(1, 1_000_000)] = 300
    """Frames made of each sequence, every second of which is kept."""
    data_seed: NumPySeed = TEST_SEED
    """Seed of source strengths and wave speeds."""
    windows: Literal["all", "published"] = "all"
    """Training windows: all, or the first ones up to the number that the published schedule saw. Testing uses all."""

    def files(self) -> list[Path]:
        if self.data is None or not self.data.is_dir() or (self.data / "wave.h5").is_file():
            return [self.data / "wave.h5" if self.data.is_dir() else self.data] if self.data else []
        return sorted(self.data.glob("homogenous_wave*.pt")) or sorted(self.data.glob("data/homogenous_wave*.pt"))


@dataclass(frozen=True)
class Wave100(Wave):
    """The same waves seen at 100 fixed pixels, scaled by the whole frames."""

    name: ClassVar[str] = "wave100"
    points: ClassVar[bool] = True


@dataclass(frozen=True)
class MovingMNIST(DataConfig):
    """Moving MNIST.

    ``data`` is the directory of MNIST's four IDX files, gzipped or not [data/mnist]; for testing it may instead be a
    file that ``python -m fastsep.gen_mnist`` wrote.
    """

    name: ClassVar[str] = "mnist"
    module: ClassVar[str] = "fastsep.data.mnist"
    default_path: ClassVar[Path | None] = Path("data/mnist")

    digits: Literal["mnist", "sklearn"] = "mnist"
    """Images of digits: MNIST, or the ones bundled with scikit-learn, enlarged, for where there is no network."""
    n_digits: Annotated[int, Range(1, 3)] = 2
    """Digits of a video, 1 to 3."""
    grid: Annotated[int, Range(DIGIT_SIDE + 1, 4096)] = 64
    """Height and width of a frame in pixels."""
    speed: Annotated[int, Range(1, 4096)] = 4
    """Largest speed along an axis, in pixels a frame."""
    stochastic: bool = False
    """Draw a new speed at each bounce."""
    videos_per_epoch: Count = 200_000
    """Training videos that count as an epoch; each is drawn afresh."""
    test_videos: Annotated[int, Range(1, 10_000_000)] = 5_000
    """Test videos."""
    test_frames: Annotated[int, Range(1, 1_000_000)] = 100
    """Frames of a test video."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.grid - DIGIT_SIDE
        if self.speed > most:
            raise UserError(f"speed is {self.speed}: set --speed between 1 and {most} pixels a frame")

    @property
    def path(self) -> Path | None:
        return None if self.digits == "sklearn" else self.data or self.default_path

    def files(self) -> list[Path]:
        if self.path is None or self.path.is_file():
            return super().files()
        return [file for name in ("train-images", "t10k-images") for file in sorted(self.path.glob(f"{name}*"))]


@dataclass(frozen=True)
class SST(DataConfig):
    """Sea surface temperature. ``data`` is the directory of the files data_{zone}.nc [data/sst]."""

    name: ClassVar[str] = "sst"
    module: ClassVar[str] = "fastsep.data.sst"
    default_path: ClassVar[Path | None] = Path("data/sst")

    zones: Annotated[tuple[int, ...], Range(1, 1_000_000)] = tuple(range(1, 30))
    """Zones to train on."""
    test_zones: Annotated[tuple[int, ...], Range(1, 1_000_000)] = (17, 18, 19, 20)
    """Zones to test on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.zones and self.test_zones):
            raise UserError("there are no zones: name some with --zones and --test-zones")

    def files(self) -> list[Path]:
        return [self.path / f"data_{zone}.nc" for zone in sorted({*self.zones, *self.test_zones})]


@dataclass(frozen=True)
class Region(Settings):
    """The part of the ocean to cut into zones."""

    lat_min: Annotated[float, Range(-90, 90)] = -90.0
    """Southern edge of the box in degrees [that of the files]."""
    lat_max: Annotated[float, Range(-90, 90)] = 90.0
    """Northern edge."""
    lon_min: Annotated[float, Range(-360, 360)] = -180.0
    """Western edge in degrees east, counted from -180 or from 0, whichever way the files count [that of the files]."""
    lon_max: Annotated[float, Range(-360, 360)] = 360.0
    """Eastern edge."""
    depth: Annotated[float, Range(0, 12_000)] = 0.494
    """Level in metres; the nearest one is taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (("lat_min", "lat_max"), ("lon_min", "lon_max")):
            if not getattr(self, low) < getattr(self, high):
                flags = " below ".join(f"--{name.replace('_', '-')}" for name in (low, high))
                raise UserError(f"the box from {getattr(self, low):g} to {getattr(self, high):g} is empty: set {flags}")


@dataclass(frozen=True)
class TaxiBJ(DataConfig):
    """TaxiBJ. ``data`` is the directory of the four files BJ{13..16}_M32x32_T30_InOut.h5 [data/taxibj]."""

    name: ClassVar[str] = "taxibj"
    module: ClassVar[str] = "fastsep.data.taxibj"
    default_path: ClassVar[Path | None] = Path("data/taxibj")

    order: Literal["published", "chronological"] = "published"
    """Frames of a window: newest first as the authors' code returns them, which makes forecasts run back in time;
    or oldest first."""

    def files(self) -> list[Path]:
        return [self.path / f"BJ{year}_M32x32_T30_InOut.h5" for year in (13, 14, 15, 16)]


@dataclass(frozen=True)
class Chairs(DataConfig):
    """Chairs. ``data`` is the file that ``python -m fastsep.prepare_chairs`` wrote [data/chairs.npy]."""

    name: ClassVar[str] = "chairs"
    module: ClassVar[str] = "fastsep.data.chairs"
    default_path: ClassVar[Path | None] = Path("data/chairs.npy")


DATASETS: dict[str, type[DataConfig]] = {cls.name: cls for cls in (Wave, Wave100, MovingMNIST, SST, TaxiBJ, Chairs)}
