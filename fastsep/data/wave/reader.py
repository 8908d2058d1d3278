"""WaveEq and WaveEq-100: waves from a decaying source, told apart by their speed (paper, section 4.1).

Letters: N sequences, T frames kept of each, W windows.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from fastsep.data.base import SHORTER, Split
from fastsep.data.fingerprint import fingerprint
from fastsep.data.residency import require_memory
from fastsep.data.wave.files import Hdf5Frames, PtFrames, WaveSettings, draw, open_frames, pixels, time_step
from fastsep.data.wave.generate import check
from fastsep.data.wave.settings import Wave
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.errors import UserError
from kernels.wave import simulate

_CHUNK_BYTES = 128 << 20
_KEEP_EVERY = 2
_TRAIN_SHARE = 0.8


def open_windows(config: Wave, split: Split, cond: int, pred: int, device: torch.device) -> TensorWindows:
    """Windows as ``DataConfig.open`` says. Both splits share one tensor, made or read once a process."""
    view = _view(
        config.data,
        fingerprint(config) if config.data else "",
        WaveSettings(config.size, config.frames, seed=config.data_seed),
        config.points,
        torch.device(device),
    )
    length = cond + pred
    train = min(round(len(view.frames) * _TRAIN_SHARE), len(view.frames) - 1)
    frames = view.frames[:train] if split == "train" else view.frames[train:]  # (N, T, *shape)
    starts = all_starts(len(frames), frames.shape[1], length)
    if len(starts) == 0:
        more = "a larger file" if config.data else "more sequences (--size) or frames (--frames)"
        raise UserError(
            f"no {split} window of {length} frames fits into {len(frames)} sequences of {frames.shape[1]} frames: "
            f"{SHORTER}, or train on {more}"
        )
    if split == "train" and config.windows == "published":
        # the authors' loader took the height of a frame for the length of a sequence when it counted windows
        starts = starts[: len(frames) * max(view.grid - length + 1, 0)]
        if len(starts) == 0:
            raise UserError(f"windows published has no window of {length} frames: use --windows all")
    windows = TensorWindows(frames, starts, length)
    if config.data:
        seconds = time_step(config.data)
        windows.step = "frames" if seconds is None else f"frames of {_KEEP_EVERY * 1e3 * seconds:g} ms"
    if config.points:
        windows.layout = f"{frames.shape[-1]} pixels of a {view.grid}x{view.grid} grid"
    return windows


@dataclass(frozen=True)
class _View:
    frames: Tensor  # (N, T, 1, grid, grid) or (N, T, 1, 100)
    grid: int


class _Simulated:
    """Sequences made when they are read, on the device that wants them if it can."""

    def __init__(self, settings: WaveSettings, device: torch.device):
        check(settings)
        self.shape = (settings.size, settings.frames, settings.grid, settings.grid)
        self._settings = settings
        self._f0, self._c = (torch.from_numpy(x) for x in draw(settings.size, settings.seed))
        # a GPU without numba-cuda: a second on the CPU does as well
        self._on = device if device.type == "cuda" and importlib.util.find_spec("numba_cuda") else torch.device("cpu")
        self._buffer = torch.empty(0)

    def read(self, first: int, count: int) -> Tensor:
        """Sequences ``first`` to ``first + count``, (count, T, H, W); the next call overwrites them."""
        s, part = self._settings, slice(first, first + count)
        c, f0 = self._c[part], self._f0[part]
        if len(self._buffer) < len(c):
            self._buffer = torch.empty(len(c), *self.shape[1:], device=self._on)
        return simulate(c, f0, frames=s.frames, grid=s.grid, dt=s.dt, device=self._on, out=self._buffer[: len(c)])


@lru_cache(maxsize=1)
def _view(data: Path | None, content: str, settings: WaveSettings, points: bool, device: torch.device) -> _View:
    """The training view of all sequences, read piece by piece so that the full rate never lies in memory at once.

    A file that is made anew has another ``content``.
    """
    source: Hdf5Frames | PtFrames | _Simulated = open_frames(data) if data else _Simulated(settings, device)
    size, length, grid, _ = source.shape
    rows, columns = (torch.from_numpy(index).to(device) for index in pixels(grid))
    shape = (100,) if points else (grid, grid)
    kept_shape = (size, -(-length // _KEEP_EVERY), 1, *shape)
    sequence = length * grid * grid * 4
    count = min(size, max(1, _CHUNK_BYTES // sequence))
    remedy = "give a smaller data set" if data else "lower --size or --frames"
    # What is kept, a piece as it comes, and the same scaled.
    needed = math.prod(kept_shape) * 4 + 2 * count * sequence
    require_memory(needed, f"a data set of {size} sequences", remedy, device)
    frames = torch.empty(kept_shape, device=device)  # (N, T, 1, *shape)
    scalable = torch.ones(size, dtype=torch.bool, device=device)
    for first in range(0, size, count):
        chunk = source.read(first, count).to(device)  # (count, length, grid, grid)
        low, high = (x[:, None, None, None] for x in chunk.flatten(1).aminmax(dim=1))
        span = high - low
        scalable[first : first + count] = ((span > 0) & span.isfinite()).flatten()  # false for NaN, too
        kept = (chunk[:, ::_KEEP_EVERY] - low) / span
        frames[first : first + count, :, 0] = kept[..., rows, columns] if points else kept
    bad = (~scalable).nonzero().flatten().tolist()
    if bad:
        raise UserError(
            f"{data or 'the simulation'}: {len(bad)} of {size} sequences are constant or not finite and cannot be "
            f"scaled, sequence {bad[0]} first: give other data"
        )
    return _View(frames, grid)
