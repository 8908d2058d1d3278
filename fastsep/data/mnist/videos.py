"""Moving MNIST's test videos: drawn in the authors' order, rendered when asked for, written to a file and read back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastsep.data.base import SHORTER
from fastsep.data.disk_space import require_space
from fastsep.data.formats.hdf5 import find_dataset, open_hdf5, read_attribute, read_dataset
from fastsep.data.formats.hdf5_stream import Rows, hdf5_stream
from fastsep.data.mnist.files import SIDE
from fastsep.data.mnist.moving_digits import random_bounces, render, straight
from fastsep.data.windows import Windows, to_unit
from fastsep.errors import UserError
from fastsep.files import make_directory, write_problem

_CHUNK = 50  # videos rendered at a time: 20 MB


@dataclass(frozen=True)
class Scene:
    """What moves where: everything that frames are rendered from.

    V videos, D digits of a video, T frames, N images to choose from.
    """

    images: Tensor
    """(N, 28, 28) uint8."""
    digit_ids: Tensor
    """(V, D) int64, rows of ``images``."""
    positions: Tensor
    """(V, D, T, 2) int64, row and column of the upper left corner."""
    grid: int
    """Size of a frame."""
    source: str
    """What the images are."""

    @property
    def frames(self) -> int:
        """Frames of a video."""
        return self.positions.shape[2]

    def to(self, device: torch.device) -> Scene:
        """The same on ``device``."""
        tensors = (self.images, self.digit_ids, self.positions)
        return Scene(*(tensor.to(device) for tensor in tensors), self.grid, self.source)

    def draw(self, index: Tensor, frames: int) -> Tensor:
        """The first ``frames`` frames of the videos ``index`` (B,): (B, frames, 1, G, G) uint8."""
        return render(self.images[self.digit_ids[index]], self.positions[index, :, :frames], self.grid)

    def draw_swapped(self, content: Tensor, motion: Tensor, frames: int) -> Tensor:
        """The digits of the videos ``content`` (B,) on the trajectories of the videos ``motion`` (B,).

        Which digit takes which trajectory is open, hence one video for each permutation: (B, D!, frames, 1, G, G)
        uint8.
        """
        ids = self.digit_ids[content]  # (B, D)
        positions = self.positions[motion, :, :frames]
        orders = itertools.permutations(range(ids.shape[1]))
        videos = [render(self.images[ids[:, list(order)]], positions, self.grid) for order in orders]
        return torch.stack(videos, dim=1)


def draw_scene(
    images: np.ndarray,
    source: str,
    *,
    videos: int,
    frames: int,
    n_digits: int,
    grid: int,
    speed: int,
    stochastic: bool,
    seed: int,
) -> Scene:
    """Draw test videos as the authors do: first which digits, without repeating one while there are others; then,
    video by video and digit by digit, the corner and the speed.

    Args:
        images: (N, 28, 28) uint8.
        seed: of NumPy's legacy generator; 42 with MNIST's 10,000 test digits gives the authors' 5,000 videos.
    """
    extent = grid - SIDE
    generator = np.random.RandomState(seed)
    wanted = videos * n_digits
    orders = [generator.permutation(len(images)) for _ in range(-(-wanted // len(images)))]
    digit_ids = np.concatenate(orders)[:wanted].reshape(videos, n_digits)
    start = np.empty((videos, n_digits, 2), np.int64)
    velocity = np.empty((videos, n_digits, 2), np.int64)
    for video, digit in itertools.product(range(videos), range(n_digits)):
        start[video, digit] = generator.randint(0, extent + 1, 2)
        velocity[video, digit] = generator.randint(-speed, speed + 1, 2)
    if stochastic:
        bounces = (frames - 1, videos, n_digits, 2)
        fresh = torch.from_numpy(generator.randint(-speed, speed + 1, bounces))
        away = torch.from_numpy(generator.randint(1, speed + 1, bounces))
        positions = random_bounces(torch.from_numpy(start), torch.from_numpy(velocity), fresh, away, extent)
    else:
        positions = straight(torch.from_numpy(start), torch.from_numpy(velocity), frames, extent)
    return Scene(torch.from_numpy(images.copy()), torch.from_numpy(digit_ids), positions, grid, source)


class SceneWindows(Windows):
    """The first ``length`` frames of each video of a scene, rendered on the device."""

    def __init__(self, scene: Scene, length: int, device: torch.device):
        if length > scene.frames:
            raise UserError(
                f"a window of {length} frames is longer than the {scene.frames} frames of Moving MNIST's test videos: "
                f"{SHORTER}, or raise --test-frames"
            )
        self.scene = scene.to(device)
        self.length = length
        self.shape = (1, scene.grid, scene.grid)
        self.device = device
        self.description = f"Moving MNIST of {scene.source}"

    def __len__(self) -> int:
        return len(self.scene.digit_ids)

    def batch(self, index: Tensor) -> Tensor:
        return to_unit(self.scene.draw(index, self.length))

    def swap_targets(self, content: Tensor, motion: Tensor) -> Tensor:
        """What swapping should give: the digits of ``content`` (B,) moving as in ``motion`` (B,).

        One video for each way to pair digits with trajectories: (B, D!, length, 1, G, G) float32.
        """
        return to_unit(self.scene.draw_swapped(content, motion, self.length))


def write_videos(scene: Scene, out: Path, progress: Callable[[Iterator[int], int], Iterator[int]]) -> None:
    """Write the rendered videos and all that they were rendered from as HDF5; chunk by chunk, whole or not at all.

    ``videos`` (V, T, G, G) uint8 is contiguous, so that other programs can map it into memory. ``images``,
    ``digit_ids`` and ``positions`` are those of ``Scene``.

    Args:
        progress: wraps the iterator over chunks, given how many there are.

    Raises:
        UserError: the file cannot be written.
    """
    videos, frames, grid = len(scene.digit_ids), scene.frames, scene.grid
    rows = Rows((videos, frames, grid, grid), np.dtype(np.uint8))
    arrays = {
        "images": scene.images.numpy(),
        "digit_ids": scene.digit_ids.numpy(),
        "positions": scene.positions.numpy().astype(np.int16),
    }
    require_space(out.parent, math.prod(rows.shape) + sum(array.nbytes for array in arrays.values()))
    try:
        make_directory(out.parent)
        with hdf5_stream(out, {"source": scene.source}, arrays, "videos", rows) as file:
            chunks = range(0, videos, _CHUNK)
            for first in progress(iter(chunks), len(chunks)):
                index = torch.arange(first, min(first + _CHUNK, videos))
                file.write(scene.draw(index, frames)[:, :, 0].numpy())
    except OSError as error:
        raise write_problem(out, error, "choose another --out") from None


def read_scene(path: Path) -> Scene:
    """Read what ``write_videos`` wrote. Frames are rendered anew: that is faster than reading them.

    Raises:
        UserError: the file is damaged or something else.
    """
    with open_hdf5(path, "file of Moving MNIST videos", "make it again with python -m fastsep.gen_mnist") as file:
        images = read_dataset(file, "images", "u", 3)
        ids, positions = read_dataset(file, "digit_ids", "iu", 2), read_dataset(file, "positions", "iu", 4)
        videos, source = find_dataset(file, "videos", "u", 4).shape, read_attribute(file, "source")
        grid = videos[-1]
        whole = (
            images.dtype == np.uint8
            and images.shape[1:] == (SIDE, SIDE)
            and positions.shape == (*ids.shape, videos[1], 2)
            and len(ids) == videos[0]
            and ids.min(initial=0) >= 0
            and ids.max(initial=0) < len(images)
            and positions.min(initial=0) >= 0
            and positions.max(initial=0) <= grid - SIDE
        )
        if not whole or not isinstance(source, str):
            raise ValueError("digits and positions do not fit the videos")
    tensors = (torch.from_numpy(array) for array in (images, ids.astype(np.int64), positions.astype(np.int64)))
    return Scene(*tensors, grid, source)
