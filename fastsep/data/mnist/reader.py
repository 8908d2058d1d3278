"""Moving MNIST: handwritten digits that bounce about a square (Srivastava et al. 2015).

Comes from: MNIST's digits (LeCun, Cortes, Burges; CC BY-SA 3.0), fetched from public mirrors with checksums when they
are not there; the videos are made here. Without a network the digits bundled with scikit-learn (UCI Optical
Recognition of Handwritten Digits, CC BY 4.0) stand in; scores on them are no scores of Moving MNIST and say so.
Reproduces: training videos by the paper's rules; with ``digits="mnist"`` exactly the authors' 5,000 test videos.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fastsep.data.base import Split
from fastsep.data.mnist.files import SIDE, load_digits
from fastsep.data.mnist.moving_digits import random_bounces, render, straight
from fastsep.data.mnist.settings import TEST_SEED, MovingMNIST
from fastsep.data.mnist.videos import Scene, SceneWindows, draw_scene, read_scene
from fastsep.data.windows import Windows, to_unit
from fastsep.errors import UserError, warn

__all__ = ["draw_test_scene", "open_windows", "single_digits"]

_SOURCES = {"mnist": "MNIST digits", "sklearn": "scikit-learn's bundled digits, enlarged (not MNIST)"}


def open_windows(config: MovingMNIST, split: Split, cond: int, pred: int, device: torch.device) -> Windows:
    """Endless fresh videos to train on, from the device's own generator; the fixed videos of seed 42 to test on.

    Raises:
        UserError: MNIST is missing or damaged, or the window is longer than the test videos.
    """
    is_file = config.data is not None and config.data.is_file()
    if split == "train" and config.digits == "sklearn" and config.data is not None and not is_file:
        warn(f"the bundled digits come with scikit-learn: {config.data} is not read")
    if split == "test":
        scene = read_scene(config.data) if is_file else draw_test_scene(config, TEST_SEED)
        return SceneWindows(scene, cond + pred, device)
    if is_file:
        raise UserError(f"{config.data} is a file of videos: training wants the directory of MNIST's four IDX files")
    return FreshVideos(config, cond + pred, device)


def draw_test_scene(config: MovingMNIST, seed: int) -> Scene:
    """Digits and trajectories of the test videos, on the CPU."""
    return draw_scene(
        single_digits(config, "test"),
        _SOURCES[config.digits],
        videos=config.test_videos,
        frames=config.test_frames,
        n_digits=config.n_digits,
        grid=config.grid,
        speed=config.speed,
        stochastic=config.stochastic,
        seed=seed,
    )


def single_digits(config: MovingMNIST, split: Split) -> np.ndarray:
    """Images of single digits, (N, 28, 28) uint8."""
    return load_digits(config.digits, split, config.path)


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
        self._images = torch.tensor(single_digits(config, "train"), device=device)  # (N, 28, 28)

    def __len__(self) -> int:
        return self.config.videos_per_epoch

    def batch(self, index: Tensor) -> Tensor:
        """As many new videos as ``index`` has entries, whichever these are: the share of one larger batch."""
        config = self.config
        shape = (self.share[1] * len(index), config.n_digits, 2)
        extent = config.grid - SIDE
        digits = self._images[self._draw(0, len(self._images), shape[:2])]  # (B, D, 28, 28)
        start = self._draw(0, extent + 1, shape)
        speed = self._draw(-config.speed, config.speed + 1, shape)
        if config.stochastic:
            fresh = self._draw(-config.speed, config.speed + 1, (self.length - 1, *shape), rows=1)
            away = self._draw(1, config.speed + 1, (self.length - 1, *shape), rows=1)
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

    def _draw(self, low: int, high: int, shape: tuple[int, ...], rows: int = 0) -> Tensor:
        """Numbers for the whole batch, of which those of the share are kept; ``rows`` is the axis of the videos."""
        number, count = self.share
        return torch.randint(low, high, shape, device=self.device).chunk(count, rows)[number]
