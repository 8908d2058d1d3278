"""Where a training step finds its windows."""

from __future__ import annotations

import torch
from torch import Tensor

from fastsep.data.windows import Windows


class Feed:
    """The windows of the next step: named before it, gathered within it where the data are resident, else before it.

    Args:
        rows: windows of a batch that are this process's.
        device: where the model is.
        in_place: put them where the last ones were, for a graph that will look there.
    """

    def __init__(self, windows: Windows, rows: int, device: torch.device, in_place: bool):
        self.windows = windows
        self.rows = rows
        self._index = torch.zeros(rows, dtype=torch.int64, device=device)
        self._in_place = in_place and not windows.resident
        self._video: Tensor | None = None
        if self._in_place:
            self._video = torch.empty((rows, windows.length, *windows.shape), device=device)

    def lay(self, index: Tensor, key: int) -> None:
        """Make the windows ``index`` (rows,) those of the next step; what they draw follows from ``key``."""
        self.windows.reseed(key)
        if self.windows.resident:
            self._index.copy_(index, non_blocking=True)
        elif self._in_place:
            self._video.copy_(self.windows.batch(index))
        else:
            self._video = self.windows.batch(index)

    def video(self) -> Tensor:
        """The windows laid last, (rows, length, *shape); a graph may hold this."""
        return self.windows.batch(self._index) if self.windows.resident else self._video
