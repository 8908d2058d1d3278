"""Settings of Moving MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from fastsep.data.appearance import Appearance
from fastsep.data.base import DataConfig
from fastsep.errors import UserError
from fastsep.settings import Count, Range

DIGIT_SIDE = 28
TEST_SEED = 42
"""Of the test videos: the authors'."""


@dataclass(frozen=True)
class MovingMNIST(DataConfig):
    """Moving MNIST.

    ``data`` is the directory of MNIST's four IDX files, gzipped or not [data/mnist]; for testing it may instead be a
    file that ``python -m fastsep.gen_mnist`` wrote.
    """

    name: ClassVar[str] = "mnist"
    module: ClassVar[str] = "fastsep.data.mnist.reader"
    protocol: ClassVar[str] = "fastsep.evaluation.protocols:MNISTProtocol"
    appearance: ClassVar[Appearance] = Appearance("Moving MNIST", "brightness, 0..1", "gray", (0.0, 1.0))
    are_bytes: ClassVar[bool] = True
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

    @property
    def tests_alone(self) -> bool:
        return self.data is not None and self.data.is_file()  # of videos, whatever their digits

    def files(self) -> list[Path]:
        if self.tests_alone:
            return [self.data]
        if self.path is None:
            return []
        return [file for name in ("train-images", "t10k-images") for file in sorted(self.path.glob(f"{name}*"))]
