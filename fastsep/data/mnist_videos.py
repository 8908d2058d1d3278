"""Moving MNIST's test videos: drawn in the authors' order, rendered when asked for, written to a file and read back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from fastsep.data.mnist_files import SIDE
from fastsep.data.moving_digits import random_bounces, render, straight
from fastsep.data.windows import Windows, to_unit
from fastsep.errors import UserError

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
                "take a shorter horizon"
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
    """Write the rendered videos and all that they were rendered from as HDF5; chunk by chunk, renamed when whole.

    ``videos`` (V, T, G, G) uint8 is contiguous, so that other programs can map it into memory. ``images``,
    ``digit_ids`` and ``positions`` are those of ``Scene``.

    Args:
        progress: wraps the iterator over chunks, given how many there are.

    Raises:
        UserError: the file cannot be written.
    """
    videos, frames, grid = len(scene.digit_ids), scene.frames, scene.grid
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(part, "w") as file:
            file.attrs["source"] = scene.source
            file["images"] = scene.images.numpy()
            file["digit_ids"] = scene.digit_ids.numpy()
            file["positions"] = scene.positions.numpy().astype(np.int16)
            target = file.create_dataset("videos", (videos, frames, grid, grid), np.uint8)
            chunks = range(0, videos, _CHUNK)
            for first in progress(iter(chunks), len(chunks)):
                index = torch.arange(first, min(first + _CHUNK, videos))
                target[first : first + len(index)] = scene.draw(index, frames)[:, :, 0].numpy()
        part.replace(out)
    except OSError as error:
        raise UserError(f"cannot write {out} ({error}): choose another --out") from None
    finally:
        part.unlink(missing_ok=True)


def read_scene(path: Path) -> Scene:
    """Read what ``write_videos`` wrote. Frames are rendered anew: that is faster than reading them.

    Raises:
        UserError: the file is damaged or something else.
    """
    remedy = "make it again with python -m fastsep.gen_mnist"
    try:
        with h5py.File(path, "r") as file:
            images, ids, positions = (file[name][...] for name in ("images", "digit_ids", "positions"))
            videos, source = file["videos"].shape, str(file.attrs["source"])
    except (OSError, KeyError, AttributeError, RuntimeError, TypeError) as error:
        raise UserError(f"{path} is not a whole file of Moving MNIST videos ({error}): {remedy}") from None
    if len(videos) != 4:
        raise UserError(f"{path} holds videos of shape {videos}, not (V, T, G, G): {remedy}")
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
    if not whole:
        raise UserError(f"{path}: digits and positions do not fit the videos: {remedy}")
    tensors = (torch.from_numpy(array) for array in (images, ids.astype(np.int64), positions.astype(np.int64)))
    return Scene(*tensors, grid, source)
