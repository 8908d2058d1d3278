"""What a file or folder of frames is to the rest of the program, whatever its format.

Letters: N sequences, T frames of a sequence, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np


class Source:
    """Frames (N, T, C, *space) that lie in files and are read a part at a time; ``open_source`` makes one.

    ``*space`` is (H, W) for images, (P,) for points. A long record is one sequence.
    """

    sequences: int
    """N."""
    frames: int
    """T."""
    shape: tuple[int, ...]
    """(C, *space)."""
    names: tuple[str, ...] = ()
    """Of the channels: their variables, where they have names."""
    units: tuple[str, ...] = ()
    """Of the channels, where the data say; "" for one that does not."""
    chunk: tuple[int, int] = (1, 1)
    """Sequences and frames that are cheap to read together, as the file is laid out."""
    files: tuple[Path, ...] = ()
    """That it consists of, in a fixed order."""
    layout: str = ""
    """The axes as they were read, such as ``nthw``."""
    description: str = ""
    """One line to say before training: file, variables, shape, how the axes were understood."""

    def read(self, sequence: int, first: int, count: int) -> np.ndarray:
        """Frames ``first`` to ``first + count`` of a sequence: (count, C, *space) float32, missing values NaN.

        Values are unpacked (scale_factor, add_offset) and fill values recognised.

        Raises:
            UserError: the file is damaged, changed, or went away.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the files."""
