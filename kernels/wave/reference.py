"""The definition: the wave equation as plain PyTorch, one Runge-Kutta stage after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.wave.scheme import MIN_GRID, SOURCE_DECAY, SOURCE_RADIUS


def second_difference(w: Tensor, dim: int) -> Tensor:
    """Fourth-order second difference along ``dim``, zero in the two outermost cells of that axis."""
    n = w.shape[dim]
    if n < MIN_GRID:
        raise ValueError(f"a grid of {n} cells is too small for the stencil: at least {MIN_GRID} are needed")
    coefficients = (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)
    inner = sum(a * w.narrow(dim, k, n - 4) for k, a in enumerate(coefficients))
    result = torch.zeros_like(w)
    result.narrow(dim, 2, n - 4).copy_(inner)
    return result


def source_disc(grid: int) -> Tensor:
    """True where the source acts, (grid, grid): cells nearer than 5 to the cell (grid // 2, grid // 2)."""
    offset = torch.arange(grid) - grid // 2
    return offset[:, None] ** 2 + offset[None, :] ** 2 < SOURCE_RADIUS**2


def simulate(c: Tensor, f0: Tensor, *, frames: int = 300, grid: int = 64, dt: float = 1e-3) -> Tensor:
    """Solve w_tt = c^2 (w_xx + w_yy) + f0 exp(-20 t) on the source disc, from rest, by the 3/8-rule Runge-Kutta method.

    Args:
        c: wave speed of each sequence in cells a second, (S,).
        f0: strength of its source, (S,), of the same dtype; that dtype is the one computed in.
        frames: frames including the first, which is zero.
        grid: cells along either axis.
        dt: time step and time between frames, in seconds.

    Returns:
        w, (S, frames, grid, grid).
    """
    disc = source_disc(grid).to(c)
    speed2, strength = c.square()[:, None, None], f0[:, None, None]

    def slope(t: float, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        w, w_t = state
        force = strength * torch.exp(torch.tensor(-SOURCE_DECAY * t, dtype=c.dtype)) * disc
        return w_t, speed2 * (second_difference(w, -1) + second_difference(w, -2)) + force

    def advance(state: tuple[Tensor, Tensor], *terms: tuple[float, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        w = state[0] + dt * sum(a * k[0] for a, k in terms)
        w_t = state[1] + dt * sum(a * k[1] for a, k in terms)
        return w, w_t

    state = (c.new_zeros(len(c), grid, grid), c.new_zeros(len(c), grid, grid))
    out = c.new_empty(len(c), frames, grid, grid)
    out[:, 0] = state[0]
    for n in range(frames - 1):
        t = n * dt
        k1 = slope(t, state)
        k2 = slope(t + dt / 3, advance(state, (1 / 3, k1)))
        k3 = slope(t + 2 * dt / 3, advance(state, (-1 / 3, k1), (1, k2)))
        k4 = slope(t + dt, advance(state, (1, k1), (-1, k2), (1, k3)))
        state = advance(state, (1 / 8, k1), (3 / 8, k2), (3 / 8, k3), (1 / 8, k4))
        out[:, n + 1] = state[0]
    return out
