"""Moving MNIST's trajectories and frames as tensor operations.

Letters: B videos, D digits of a video, L frames, G size of the frame. A digit's position is the row and column of its
upper left corner, in [0, extent] with extent = G - 28.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastsep.data.mnist.files import SIDE


def straight(start: Tensor, speed: Tensor, frames: int, extent: int) -> Tensor:
    """Positions under elastic bounces, from their closed form: unfold the box into a torus, fold it back.

    Args:
        start: (B, D, 2) int64, positions at frame 0.
        speed: (B, D, 2) int64, pixels a frame.

    Returns:
        (B, D, L, 2) int64.
    """
    time = torch.arange(frames, device=start.device)[:, None]
    unfolded = torch.remainder(start[:, :, None] + speed[:, :, None] * time, 2 * extent)  # (B, D, L, 2)
    return torch.minimum(unfolded, 2 * extent - unfolded)


def random_bounces(start: Tensor, speed: Tensor, fresh: Tensor, away: Tensor, extent: int) -> Tensor:
    """Positions when each bounce draws a new speed (Denton and Fergus 2018, stochastic Moving MNIST).

    A digit is reflected at the wall; its speed then points away from that wall and is random along the other axis.

    Args:
        start: (B, D, 2) int64, positions at frame 0.
        speed: (B, D, 2) int64, pixels a frame until the first bounce.
        fresh: (L - 1, B, D, 2) int64, speeds to take along axes that hit no wall.
        away: (L - 1, B, D, 2) int64, positive speeds to leave a wall with.

    Returns:
        (B, D, L, 2) int64.
    """
    positions = [start]
    for any_way, outward in zip(fresh, away, strict=True):
        moved = positions[-1] + speed
        low, high = moved < 0, moved > extent
        positions.append(torch.where(low, -moved, torch.where(high, 2 * extent - moved, moved)))
        bounced = (low | high).any(-1, keepdim=True)
        speed = torch.where(bounced, torch.where(low, outward, torch.where(high, -outward, any_way)), speed)
    return torch.stack(positions, dim=2)


def render(digits: Tensor, positions: Tensor, grid: int) -> Tensor:
    """Draw digits on black frames; where they overlap their values add up to at most 255.

    Only the 28x28 pixels under a digit are touched, and in uint8, so a batch costs little more than clearing its
    frames.

    Args:
        digits: (B, D, 28, 28) uint8.
        positions: (B, D, L, 2) int64.

    Returns:
        (B, L, 1, G, G) uint8.
    """
    videos, count, frames = positions.shape[:3]
    side = torch.arange(SIDE, device=digits.device)
    patch = (side[:, None] * grid + side).flatten()  # (784,) pixels of a digit, from its corner
    corners = positions[..., 0] * grid + positions[..., 1]  # (B, D, L)
    canvas = torch.zeros(videos, frames, grid * grid, dtype=torch.uint8, device=digits.device)
    for d in range(count):
        pixels = corners[:, d, :, None] + patch  # (B, L, 784)
        values = digits[:, d].flatten(1)[:, None].expand(-1, frames, -1)  # (B, L, 784)
        if d > 0:
            under = canvas.gather(2, pixels)
            values = under + torch.minimum(values, 255 - under)
        canvas.scatter_(2, pixels, values)
    return canvas.view(videos, frames, 1, grid, grid)
