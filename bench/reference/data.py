"""Batches made item by item on the host, as a plain data set with a plain loader makes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def collect(frames: Tensor, starts: Tensor, index: Tensor, length: int) -> Tensor:
    """Slice each window out of ``frames`` (N, T, *shape) and stack them: (B, length, *shape)."""
    items = []
    for window in index.tolist():
        sequence, first = starts[window].tolist()
        items.append(frames[sequence, first : first + length])
    return torch.stack(items)


def bounce(digits: np.ndarray, rng: np.random.RandomState, frames: int, side: int = 64) -> np.ndarray:
    """One Moving MNIST video of two digits, moved frame by frame: (frames, 1, side, side) float32 in [0, 1]."""
    size = digits.shape[-1]
    video = np.zeros((frames, side, side), np.float32)
    for digit in digits[rng.randint(len(digits), size=2)]:
        position = rng.randint(0, side - size + 1, size=2)
        speed = rng.randint(-4, 5, size=2)
        for frame in video:
            frame[position[0] : position[0] + size, position[1] : position[1] + size] += digit
            position = position + speed
            for axis in range(2):
                if position[axis] < 0:
                    position[axis], speed[axis] = -position[axis], -speed[axis]
                elif position[axis] > side - size:
                    position[axis], speed[axis] = 2 * (side - size) - position[axis], -speed[axis]
    return np.minimum(video, 255)[:, None] / 255
