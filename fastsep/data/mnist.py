"""Moving MNIST: handwritten digits that bounce about a square (Srivastava et al. 2015).

Comes from: MNIST's digits (LeCun, Cortes, Burges; CC BY-SA 3.0), fetched from public mirrors with checksums when they
are not there; the videos are made here. Without a network the digits bundled with scikit-learn (UCI Optical
Recognition of Handwritten Digits, CC BY 4.0) stand in; scores on them are no scores of Moving MNIST and say so.
Reproduces: training videos by the paper's rules; with ``digits="mnist"`` exactly the authors' 5,000 test videos.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fastsep.data.base import DataConfig, Split
from fastsep.data.mnist_files import SIDE, load_digits
from fastsep.data.mnist_videos import Scene, SceneWindows, draw_scene, read_scene
from fastsep.data.moving_digits import random_bounces, render, straight
from fastsep.data.windows import Windows, to_unit
from fastsep.errors import UserError

DIRECTORY = Path("data/mnist")
TEST_SEED = 42
_SOURCES = {"mnist": "MNIST digits", "sklearn": "scikit-learn's bundled digits, enlarged (not MNIST)"}


@dataclass(frozen=True)
class MovingMNIST(DataConfig):
    """Moving MNIST.

    ``data`` is the directory of MNIST's four IDX files, gzipped or not [data/mnist]; for testing it may instead be a
    file that ``python -m fastsep.gen_mnist`` wrote.
    """

    name: ClassVar[str] = "mnist"

    digits: Literal["mnist", "sklearn"] = "mnist"
    """Images of digits: MNIST, or the ones bundled with scikit-learn, enlarged, for where there is no network."""
    n_digits: int = 2
    """Digits of a video, 1 to 3."""
    grid: int = 64
    """Height and width of a frame in pixels."""
    speed: int = 4
    """Largest speed along an axis, in pixels a frame."""
    stochastic: bool = False
    """Draw a new speed at each bounce."""
    videos_per_epoch: int = 200_000
    """Training videos that count as an epoch; each is drawn afresh."""
    test_videos: int = 5_000
    """Test videos."""
    test_frames: int = 100
    """Frames of a test video."""

    def __post_init__(self) -> None:
        if self.n_digits not in (1, 2, 3):
            raise UserError(f"{self.n_digits} digits do not fit a frame: set --n-digits to 1, 2 or 3")
        if self.grid <= SIDE:
            raise UserError(f"digits of {SIDE} pixels cannot move on a grid of {self.grid}: set --grid to more")
        if self.speed < 1 or self.speed > self.grid - SIDE:
            raise UserError(f"speed is {self.speed}: set --speed between 1 and {self.grid - SIDE} pixels a frame")
        for flag in ("videos_per_epoch", "test_videos", "test_frames"):
            if getattr(self, flag) < 1:
                raise UserError(f"{flag} is {getattr(self, flag)}: set --{flag.replace('_', '-')} to 1 or more")

    def open(self, split: Split, cond: int, pred: int, device: torch.device, seed: int = 0) -> Windows:
        """Endless fresh videos to train on, from the device's own generator; the fixed videos of seed 42 to test on.

        Raises:
            UserError: MNIST is missing or damaged, or the window is longer than the test videos.
        """
        if split == "test":
            scene = read_scene(self.data) if self._is_file else self.draw_test_scene(TEST_SEED)
            return SceneWindows(scene, cond + pred, device)
        if self._is_file:
            raise UserError(f"{self.data} is a file of videos: training wants the directory of MNIST's four IDX files")
        return FreshVideos(self, cond + pred, device)

    @property
    def _is_file(self) -> bool:
        return self.data is not None and self.data.is_file()

    def draw_test_scene(self, seed: int) -> Scene:
        """Digits and trajectories of the test videos, on the CPU."""
        return draw_scene(
            self.images("test"),
            _SOURCES[self.digits],
            videos=self.test_videos,
            frames=self.test_frames,
            n_digits=self.n_digits,
            grid=self.grid,
            speed=self.speed,
            stochastic=self.stochastic,
            seed=seed,
        )

    def images(self, split: Split) -> np.ndarray:
        """Images of single digits, (N, 28, 28) uint8."""
        return load_digits(self.digits, split, self.data or DIRECTORY)


class FreshVideos(Windows):
    """Training videos, drawn and rendered on the device; no two batches are alike.

    B videos, D digits, L frames.
    """

    def __init__(self, config: MovingMNIST, length: int, device: torch.device):
        self.config = config
        self.length = length
        self.shape = (1, config.grid, config.grid)
        self.device = device
        self.description = f"Moving MNIST of {_SOURCES[config.digits]}"
        self._images = torch.tensor(config.images("train"), device=device)  # (N, 28, 28)

    def __len__(self) -> int:
        return self.config.videos_per_epoch

    def batch(self, index: Tensor) -> Tensor:
        """As many new videos as ``index`` has entries, whichever these are."""
        config = self.config
        shape = (len(index), config.n_digits, 2)
        extent = config.grid - SIDE
        digits = self._images[self._draw(0, len(self._images), shape[:2])]  # (B, D, 28, 28)
        start = self._draw(0, extent + 1, shape)
        speed = self._draw(-config.speed, config.speed + 1, shape)
        if config.stochastic:
            fresh = self._draw(-config.speed, config.speed + 1, (self.length - 1, *shape))
            away = self._draw(1, config.speed + 1, (self.length - 1, *shape))
            positions = random_bounces(start, speed, fresh, away, extent)
        else:
            positions = straight(start, speed, self.length, extent)
        return to_unit(render(digits, positions, config.grid))

    def reseed(self, key: int) -> None:
        """Seed the device's own generator: a CUDA graph that was captured with it draws anew from the new seed."""
        if self.device.type == "cuda":
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            torch.cuda.default_generators[index].manual_seed(key)
        else:
            torch.default_generator.manual_seed(key)

    def _draw(self, low: int, high: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(low, high, shape, device=self.device)
