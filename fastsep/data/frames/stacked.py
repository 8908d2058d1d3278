"""Arrays of one file as frames: stacked as channels, their axes put in order as they are read.

Letters: N sequences, T frames, C channels; ``*space`` height and width, or points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import numpy as np

from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Array, Contents
from fastsep.data.frames.coordinates import read_coordinates
from fastsep.data.frames.layout import LETTERS
from fastsep.data.frames.source import Coordinate, Source
from fastsep.errors import UserError


class StackedSource(Source):
    """Arrays with settled axes; a channel each, or as many as its channel axis is long.

    Raises:
        UserError: the arrays do not fit each other.
    """

    def __init__(self, contents: Contents, arrays: Sequence[Array]):
        self._contents, self._arrays = contents, tuple(arrays)
        with self._reading():
            self._packings = [array.packing for array in arrays]
        sizes = [dict(zip(array.axes, array.shape, strict=True)) for array in arrays]
        plain = [{key: size for key, size in one.items() if key != "c"} for one in sizes]
        if any(one != plain[0] for one in plain):
            raise UserError(f"{contents.path}: arrays of different shapes cannot be channels together: "
                            f"{', '.join(map(str, arrays))}")  # fmt: skip
        self._channels = [one.get("c", 1) for one in sizes]
        first = sizes[0]
        self.sequences, self.frames = first.get("n", 1), first["t"]
        self.shape = (sum(self._channels), *(first[key] for key in "hwp" if key in first))
        self.layout = arrays[0].axes
        self.dims = dict(zip(arrays[0].axes, arrays[0].dims, strict=True)) if arrays[0].dims else {}
        self.names = self._names()
        if any(array.units for array in arrays):
            self.units = sum(((array.units,) * count for array, count in zip(arrays, self._channels, strict=True)), ())
        self.exact = not any(packing.offset for packing in self._packings)
        chunks = [_chunk(array) for array in arrays]
        self.chunk = max(n for n, _ in chunks), max(t for _, t in chunks)
        self.files = (contents.path,)
        names = "+".join(array.name for array in arrays)
        shown = f"{contents.path.name}:{names}" if names else contents.path.name
        self.description = f"{shown} {arrays[0].shape} read as {self.layout}{arrays[0].why}"

    def read(self, sequence: int, first: int, count: int) -> np.ndarray:
        values = np.empty((count, *self.shape), np.float32)
        ranges = {"n": slice(sequence, sequence + 1), "t": slice(first, first + count)}
        with self._reading():
            at = 0
            for array, packing, channels in zip(self._arrays, self._packings, self._channels, strict=True):
                sizes = zip(array.axes, array.shape, strict=True)
                part = packing.unpack(array.fetch(tuple(ranges.get(key, slice(0, size)) for key, size in sizes)))
                part = part.transpose([array.axes.index(key) for key in LETTERS if key in array.axes])
                out = values[:, at : at + channels]
                with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
                    out[...] = part.reshape(out.shape)
                if self.exact and not np.can_cast(part.dtype, np.float32):
                    self.exact = np.array_equal(out, part.reshape(out.shape), equal_nan=True)
                at += channels
        return values

    def close(self) -> None:
        self._contents.close()

    @cached_property
    def coordinates(self) -> Mapping[str, Coordinate]:
        """Read when they are first asked for. Raises UserError."""
        with self._reading():
            return read_coordinates(self._contents.arrays, self._arrays)

    def along(self, letter: str) -> Coordinate | None:
        name = self.dims.get(letter, "")
        with self._reading():
            return read_coordinates(self._contents.arrays, self._arrays, only=name).get(name) if name else None

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self._contents.path, self._contents.what, REMEDY, folder=True)

    def _names(self) -> tuple[str, ...]:
        """Of all channels; () where an array has none."""
        names = [
            array.channels or tuple(array.name if count == 1 else f"{array.name}[{k}]" for k in range(count))
            for array, count in zip(self._arrays, self._channels, strict=True)
        ]
        return sum(names, ()) if all(array.name for array in self._arrays) else ()


def _chunk(array: Array) -> tuple[int, int]:
    """Sequences and frames that lie together; of an array without chunks, what lies inside a frame must be passed."""
    sizes = dict(zip(array.axes, array.shape, strict=True))
    if array.chunks is not None:
        together = dict(zip(array.axes, array.chunks, strict=True))
    else:
        space = min(array.axes.index(key) for key in "hwp" if key in sizes)
        together = {key: sizes[key] if array.axes.index(key) > space else 1 for key in "nt" if key in sizes}
    return tuple(min(together.get(key, 1), sizes.get(key, 1)) for key in "nt")
