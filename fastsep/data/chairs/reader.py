"""Rotating chairs: 62 rendered views of each of 1,393 chairs (Aubry et al., Seeing 3D Chairs, CVPR 2014).

Comes from: rendered_chairs.tar of the project page (www.di.ens.fr/willow/research/seeing3Dchairs), rendered from
models of the 3D Warehouse under its terms of use, no other licence stated; fetch it by hand and decode it once with
``python -m fastsep.prepare_chairs``. Reproduces: the authors' order of chairs, split and windows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastsep.data.base import SHORTER, Split
from fastsep.data.chairs.settings import Chairs
from fastsep.data.chairs.views import SIZE, VIEWS, verify_views
from fastsep.data.formats.reading import reading
from fastsep.data.residency import place
from fastsep.data.windows import TensorWindows
from fastsep.errors import UserError

__all__ = ["load_views", "open_windows", "split_chairs"]


def open_windows(config: Chairs, split: Split, cond: int, pred: int, device: torch.device) -> TensorWindows:
    """Windows that start at each view of each chair and go round; 85% of the chairs train, the others test.

    Raises:
        UserError: the file is missing, damaged or something else, or a window is longer than one turn.
    """
    length = cond + pred
    if length > VIEWS:
        raise UserError(f"a window of {length} views is longer than the {VIEWS} of a chair: {SHORTER}")
    views = load_views(config.path)
    rows = split_chairs(len(views), split)
    if len(rows) == 0:
        raise UserError(f"{config.path} has {len(views)} chairs, too few to train and test: prepare more")
    # Views are gathered by row, so the array is left in the order of the file, where it may be mapped.
    frames = place(views, device)
    windows = TensorWindows(frames, _starts(rows), length, cyclic=True, device=device)
    windows.description = f"rendered chairs, {len(rows)} of {len(views)}"
    return windows


def load_views(path: Path) -> np.ndarray:
    """Map the views of all chairs, ordered by name: (chairs, 62, 3, 64, 64) uint8.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    remedy = f"make it with python -m fastsep.prepare_chairs SRC --out {path}"
    with reading(path, "NumPy file of chairs", remedy):
        views = np.load(path, mmap_mode="c")  # PyTorch wants writable memory; nothing is written to the file
        if not isinstance(views, np.memmap) or views.dtype != np.uint8 or views.shape[1:] != (VIEWS, 3, SIZE, SIZE):
            raise ValueError(f"it does not hold {VIEWS} views of 3x{SIZE}x{SIZE} bytes")
        with open(path, "rb") as file:
            file.seek(views.offset + views.nbytes)
            verify_views(views, views.offset, file.read(8 * len(views) + 64))
    return views


def split_chairs(chairs: int, split: Split) -> np.ndarray:
    """Rows of the chairs of a part, in the authors' order: shuffled by NumPy's legacy generator of seed 42."""
    order = np.random.RandomState(42).permutation(chairs)
    border = int(0.85 * chairs)
    return order[:border] if split == "train" else order[border:]


def _starts(rows: np.ndarray) -> Tensor:
    """All chairs from their first view, then all from their second, as the authors number windows: (W, 2)."""
    chairs = torch.from_numpy(rows).repeat(VIEWS)
    return torch.stack([chairs, torch.arange(VIEWS).repeat_interleave(len(rows))], dim=1)
