"""Where data lie: on the training device if it has room, else in host memory, else in a file mapped into memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

_SHARE = 0.5  # of the free memory; networks, activations and the optimiser want the rest


def free_bytes(device: torch.device) -> int:
    """Memory free now on ``device``, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def fits(size: int, device: torch.device) -> bool:
    """Whether ``size`` bytes may be put on ``device``."""
    return size <= _SHARE * free_bytes(device)


def host_array(shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
    """An array to fill: in memory if it fits, else mapped from a file in the temporary directory ($TMPDIR).

    The file has no name, so nothing is left behind however the process ends.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if fits(size, torch.device("cpu")):
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, mode="w+", shape=tuple(shape))


def place(frames: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """``frames`` on ``device`` if it has room for them, else where they are (in memory or mapped).

    A mapped file is read into memory if it fits, so that batches are not gathered from disk.
    """
    mapped = isinstance(frames, np.memmap)
    tensor = torch.from_numpy(np.asarray(frames)) if isinstance(frames, np.ndarray) else frames
    if not fits(tensor.nbytes, device):
        return tensor
    return tensor.clone() if mapped and device.type == "cpu" else tensor.to(device)
