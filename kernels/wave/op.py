"""``simulate``: sequences of the wave equation on the CPU or on a GPU, and the largest time step it takes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from kernels.wave.cpu import simulate_cpu
from kernels.wave.reference import source_disc
from kernels.wave.scheme import MIN_GRID, SOURCE_DECAY, STAGE_TIMES


def stability_limit(c_max: float) -> float:
    """Largest stable time step in seconds for waves of ``c_max`` cells a second: sqrt(3) / (2 c_max), on any grid.

    The Runge-Kutta method is stable on the imaginary axis up to 2 sqrt(2), and the two second differences together have
    eigenvalues down to -2 * 16/3, so dt c sqrt(32/3) must not pass 2 sqrt(2).
    """
    return math.sqrt(3) / (2 * c_max)


def stage_decay(frames: int, dt: float) -> np.ndarray:
    """exp(-20 t) at the four stage times of every step, (frames - 1, 4) float32."""
    times = (np.arange(frames - 1)[:, None] + np.array(STAGE_TIMES)) * dt
    return np.exp(-SOURCE_DECAY * times).astype(np.float32)


def simulate(
    c: Tensor,
    f0: Tensor,
    *,
    frames: int = 300,
    grid: int = 64,
    dt: float = 1e-3,
    device: torch.device | str = "cpu",
    out: Tensor | None = None,
    stop: np.ndarray | None = None,
) -> Tensor:
    """Solve w_tt = c^2 (w_xx + w_yy) + f0 exp(-20 t) on the source disc, from rest, in float32 (paper, section 4.1).

    On a GPU the kernel is queued on the current stream and the result never leaves the device. Grids of up to 64 cells
    keep their state on chip there; larger ones keep it in device memory.

    Args:
        c: wave speed of each sequence in cells a second, (S,), any float dtype or device.
        f0: strength of its source, (S,).
        frames: frames including the first, which is zero.
        grid: cells along either axis; the source disc lies around the cell (grid // 2, grid // 2).
        dt: time step and time between frames, in seconds.
        device: where to compute.
        out: result to fill, (S, frames, grid, grid) float32, contiguous and on ``device``.
        stop: another thread sets it to 1 to end a simulation on the CPU at the next frame, (1,) uint8; what follows
            in ``out`` is then not written. A GPU has everything queued by then and ignores it.

    Returns:
        w, (S, frames, grid, grid) float32 on ``device``.

    Raises:
        ValueError: grid, frames or dt out of range, or tensors that do not fit.
        ModuleNotFoundError: a GPU is asked for and numba-cuda is not installed.
    """
    device = torch.device(device)
    c, f0 = torch.as_tensor(c, dtype=torch.float64), torch.as_tensor(f0, dtype=torch.float64)
    _check(c, f0, frames, grid, dt)
    shape = (len(c), frames, grid, grid)
    if out is None:
        out = torch.empty(shape, dtype=torch.float32, device=device)
    elif (
        tuple(out.shape) != shape
        or out.dtype != torch.float32
        or out.device.type != device.type
        or not out.is_contiguous()
    ):
        raise ValueError(f"out must be a contiguous float32 tensor of shape {shape} on {device}")
    if len(c) == 0:
        return out
    inputs = (
        (c * dt).square().float(),
        (f0 * dt * dt).float(),
        torch.from_numpy(stage_decay(frames, dt)),
        source_disc(grid).float(),
    )
    if device.type == "cuda":
        from kernels.wave.cuda import simulate_cuda  # numba-cuda is an extra

        simulate_cuda(*(x.to(out.device, non_blocking=True) for x in inputs), out)
    else:
        simulate_cpu(*(x.cpu().numpy() for x in inputs), out.numpy(), torch.get_num_threads(), stop)
    return out


def _check(c: Tensor, f0: Tensor, frames: int, grid: int, dt: float) -> None:
    if c.ndim != 1 or c.shape != f0.shape:
        raise ValueError(f"c and f0 must be vectors of one length, not {tuple(c.shape)} and {tuple(f0.shape)}")
    if grid < MIN_GRID:
        raise ValueError(f"a grid of {grid} cells is too small for the stencil: at least {MIN_GRID} are needed")
    if frames < 1:
        raise ValueError(f"frames is {frames}: at least 1 is needed")
    if not dt > 0:
        raise ValueError(f"dt is {dt}: a time step is positive")
    fastest = float(c.abs().max()) if len(c) else 0.0
    if not math.isfinite(fastest):
        raise ValueError("c holds values that are not finite")
    if fastest and dt > stability_limit(fastest):
        raise ValueError(
            f"dt of {dt:g} s is unstable for waves of {fastest:g} cells/s: at most {stability_limit(fastest):.4g} s"
        )
