"""Files of frames for tests, and what opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastsep.data.frames.settings import Frames
from fastsep.data.windows import Windows

CPU = torch.device("cpu")


def waves(sequences: int = 5, frames: int = 12, shape: tuple[int, ...] = (6, 8), seed: int = 0) -> np.ndarray:
    """(N, T, *shape) float32 around 15: smooth in time, different in each sequence."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 6, (sequences, 1, *shape))
    time = np.arange(frames).reshape(-1, *[1] * len(shape))
    return (15 + 5 * np.sin(phase + 0.3 * time)).astype(np.float32)


def saved(folder: Path, frames: np.ndarray, name: str = "own.npy") -> Path:
    np.save(folder / name, frames)
    return folder / name


def opened(path: Path, part: str = "train", cond: int = 2, pred: int = 3, **settings: Any) -> Windows:
    return Frames(data=path, **settings).open(part, cond, pred, CPU)


def without_memory(patch) -> None:
    """Frames do not fit memory: they are streamed."""
    patch.setattr("fastsep.data.frames.loading.may_keep", lambda size: False)


def everything(windows: Windows) -> torch.Tensor:
    """All windows (W, L, C, *space)."""
    return windows.batch(torch.arange(len(windows)))
