"""What a data set is to the rest of the program: its settings, and how to open a split of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from fastsep.data.windows import Windows

Split = Literal["train", "test"]


@dataclass(frozen=True)
class DataConfig:
    """Settings that every data set has; each data set adds its own."""

    name: ClassVar[str] = ""

    data: Path | None = None
    """Where the data lie (a file or a directory, as the data set says)."""

    def open(self, split: Split, cond: int, pred: int, device: torch.device, seed: int = 0) -> Windows:
        """Windows of ``cond`` conditioning and ``pred`` further frames, resident on ``device``.

        Raises:
            UserError: the data are missing, damaged or too short; the message names the file and the remedy.
        """
        raise NotImplementedError
