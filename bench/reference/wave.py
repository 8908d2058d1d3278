"""The wave equation one sequence and one stage at a time, in plain PyTorch float32."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

WEIGHTS = (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)


def second_difference(w: Tensor, axis: int) -> Tensor:
    """Fourth-order second difference of (H, W) along ``axis``, zero in the two outermost cells."""
    out = torch.zeros_like(w)
    inner = w.shape[axis] - 4
    terms = [weight * w.narrow(axis, k, inner) for k, weight in enumerate(WEIGHTS)]
    out.narrow(axis, 2, inner).copy_(sum(terms))
    return out


def derivative(decay: Tensor, state: Tensor, c: float, f0: float, disc: Tensor) -> Tensor:
    """Time derivative of ``state`` (2, H, W), which holds w and w_t; ``decay`` is the source's at that time."""
    w, speed = state
    laplacian = second_difference(w, 0) + second_difference(w, 1)
    source = f0 * decay * disc
    return torch.stack([speed, c * c * laplacian + source])


def step(state: Tensor, decay: Tensor, dt: float, c: float, f0: float, disc: Tensor) -> Tensor:
    """One step of the classical 3/8-rule Runge-Kutta method (Kutta, 1901); ``decay`` (4,) at its four stage times."""
    k1 = derivative(decay[0], state, c, f0, disc)
    k2 = derivative(decay[1], state + dt * k1 / 3, c, f0, disc)
    k3 = derivative(decay[2], state + dt * (k2 - k1 / 3), c, f0, disc)
    k4 = derivative(decay[3], state + dt * (k1 - k2 + k3), c, f0, disc)
    return state + dt / 8 * (k1 + 3 * (k2 + k3) + k4)


def simulate_one(
    c: float,
    f0: float,
    frames: int = 300,
    grid: int = 64,
    dt: float = 1e-3,
    advance: Callable[..., Tensor] = step,
    device: torch.device | str = "cpu",
) -> Tensor:
    """One sequence from rest: (frames, grid, grid) float32; ``advance`` may be a compiled ``step``."""
    axis = torch.arange(grid, device=device) - grid // 2
    disc = (axis[:, None] ** 2 + axis**2 < 25).float()  # (grid, grid)
    state = torch.zeros(2, grid, grid, device=device)
    out = [state[0]]
    stages = [[math.exp(-20.0 * (k + part) * dt) for part in (0, 1 / 3, 2 / 3, 1)] for k in range(frames - 1)]
    for decay in torch.tensor(stages, device=device):  # tensors: a compiler would make a program for every float
        state = advance(state, decay, dt, c, f0, disc)
        out.append(state[0])
    return torch.stack(out)
