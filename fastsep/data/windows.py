"""Windows of a sequence data set, gathered on the device that trains.

Letters: N sequences, T frames of a sequence, W windows, B batch, L frames of a window, ``*shape`` one frame.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Windows:
    """A data set as training and evaluation see it: windows of ``length`` frames, addressed by number.

    Subclasses define ``batch``. It must use device operations only, without synchronisation, so that a training step
    that contains it can be captured in a CUDA graph.
    """

    length: int
    shape: tuple[int, ...]
    device: torch.device

    def __len__(self) -> int:
        raise NotImplementedError

    def batch(self, index: Tensor) -> Tensor:
        """Return the windows ``index`` (B,) int64 on ``device`` as (B, length, *shape) float32."""
        raise NotImplementedError


class TensorWindows(Windows):
    """Windows of one tensor that lies on the device.

    Args:
        frames: (N, T, *shape) float32, or uint8 that stands for frames of 0 to 1 (divided by 255 in ``batch``).
        starts: (W, 2) int64, the sequence and the first frame of each window.
        length: frames of a window.
        newest_first: return each window backwards in time.
    """

    def __init__(self, frames: Tensor, starts: Tensor, length: int, newest_first: bool = False):
        self.frames = frames
        self.starts = starts.to(frames.device)
        self.length = length
        self.shape = tuple(frames.shape[2:])
        self.device = frames.device
        steps = torch.arange(length, device=frames.device)
        self._steps = steps.flip(0) if newest_first else steps

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, index: Tensor) -> Tensor:
        sequence, first = self.starts[index].unbind(1)  # (B,), (B,)
        windows = self.frames[sequence[:, None], first[:, None] + self._steps]  # (B, L, *shape)
        return windows / 255 if windows.dtype == torch.uint8 else windows


def all_starts(sequences: int, frames: int, length: int) -> Tensor:
    """Every window of every sequence, in order: (sequences * (frames - length + 1), 2) int64."""
    per_sequence = max(frames - length + 1, 0)
    sequence = torch.arange(sequences).repeat_interleave(per_sequence)
    return torch.stack([sequence, torch.arange(per_sequence).repeat(sequences)], dim=1)
