"""An array that lies in a file, before it is known what its axes mean, and what else a file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastsep.data.formats.packing import Packing

Index = tuple[slice, ...]
"""A part of an array: one slice with both ends for each axis."""


@dataclass(frozen=True)
class Array:
    """An array of a file, read a part at a time."""

    name: str
    """In the file; "" where it needs none."""
    shape: tuple[int, ...]
    dtype: np.dtype
    fetch: Callable[[Index], np.ndarray] | None = None
    """Raw numbers of a part, with all axes. None of an array that cannot be read, whose ``problem`` says why."""
    dims: tuple[str, ...] = ()
    """Names of its axes, where the file has them."""
    chunks: tuple[int, ...] | None = None
    """How much of each axis lies together; None where it lies in order."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Texts as ``str``, numbers as NumPy's."""
    default_fills: bool = False
    """Written by the netCDF library, which marks what was never written."""
    axes: str = ""
    """The letters of its axes (``fastsep.data.frames.layout``), where they are settled."""
    why: str = ""
    """How they were settled, where it has to be said."""
    channels: tuple[str, ...] = ()
    """Names along its axis c, where they have any."""
    problem: str = ""
    """Why it cannot be frames, where that shows at once: "holds no numbers: give others"."""
    look: Callable[[], str] = lambda: ""
    """Finds out the same where it takes time."""

    @property
    def packing(self) -> Packing:
        """How its raw numbers stand for values. Raises ValueError for attributes that make no sense."""
        return Packing.of(self.attributes, self.dtype, self.default_fills)

    @property
    def units(self) -> str:
        """What one of its values means, "" where nothing is said."""
        units = self.attributes.get("units", "")
        return units if isinstance(units, str) else ""

    def __str__(self) -> str:
        kind = "" if self.dtype.kind in "fiub" else f" of {describe(self.dtype)}"
        return f"{self.name or 'an array'} {self.shape}{kind}"


@dataclass(frozen=True)
class Contents:
    """What an opened file holds."""

    path: Path
    what: str
    """The format, "HDF5 file"."""
    arrays: tuple[Array, ...]
    close: Callable[[], None] = lambda: None
    """Lets go of the file; a later read opens it again."""
    group_attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of the groups of an HDF5 file, by name."""
    one_sequence: bool = False
    """Each of its arrays is, as one of many such files."""
    several: bool = False
    """All its arrays are channels where none is named, as the format says."""


REMEDY = "copy or make it again"
"""What helps against a damaged file of frames."""


def describe(dtype: np.dtype) -> str:
    """A data type in words."""
    if dtype.kind == "O":
        return "Python objects"
    if dtype.kind in "SUT":
        return "texts"
    if dtype.kind == "c":
        return "complex numbers"
    if dtype.kind in "mM":
        return "dates"
    return "records" if dtype.names else f"the type {dtype}"
