"""What a file or folder of frames is to the rest of the program, whatever its format.

Letters: N sequences, T frames of a sequence, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Coordinate(NamedTuple):
    """What a NetCDF file says about the axes of a variable, as it stands in the file."""

    dims: tuple[str, ...]
    """Names of its axes in the file."""
    values: np.ndarray
    """Raw: neither unpacked nor turned into dates."""
    attributes: Mapping[str, Any]
    """``units``, ``calendar``, ``standard_name`` and so on; texts as ``str``."""


class Source:
    """Frames (N, T, C, *space) that lie in files and are read a part at a time; ``open_source`` makes one.

    ``*space`` is (H, W) for images, (P,) for points. A long record is one sequence. Threads may read at once.
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
    exact: bool = True
    """float32 holds the numbers that were read as they are in the file."""
    chunk: tuple[int, int] = (1, 1)
    """Sequences and frames that are cheap to read together, as the file is laid out; (1, 1) where all are."""
    files: tuple[Path, ...] = ()
    """That it consists of, in a fixed order; of a Zarr store its folder."""
    layout: str = ""
    """The axes as they were read, such as ``nthw``."""
    dims: Mapping[str, str] = {}
    """What the file calls the axes, by the letter of the layout: {"t": "time", "h": "lat", "w": "lon"}; {} where it
    does not name them."""
    coordinates: Mapping[str, Coordinate] = {}
    """By name, those of the axes and those that belong to the variable, where the format has any."""
    description: str = ""
    """One line to say before training: file, variables, shape, how the axes were understood."""

    def read(self, sequence: int, first: int, count: int) -> np.ndarray:
        """Frames ``first`` to ``first + count`` of a sequence: (count, C, *space) float32, missing values NaN.

        Values are unpacked (scale_factor, add_offset) and fill values recognised; infinite ones stay, for whoever
        scans the data to refuse. Where the file has checksums of its numbers, those that were read fit them.

        Raises:
            UserError: the file is damaged, changed, or went away.
        """
        raise NotImplementedError

    def along(self, letter: str) -> Coordinate | None:
        """Those of one axis of the layout, read alone; None where there are none. Raises UserError."""
        return self.coordinates.get(self.dims.get(letter, ""))

    def close(self) -> None:
        """Let go of the files."""
