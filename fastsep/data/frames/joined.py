"""Sequences of several files as those of one."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from fastsep.data.frames.source import Coordinate, Source
from fastsep.errors import UserError

_OPEN = 16  # files at a time: each keeps some memory, and systems allow some hundreds


class JoinedSource(Source):
    """The sequences of ``parts``, one part after the other.

    Raises:
        UserError: they are of different shapes or lengths.
    """

    def __init__(self, path: Path, parts: Sequence[Source]):
        self._parts = tuple(parts)
        first = parts[0]
        for part in parts:
            if (part.frames, part.shape, part.names) != (first.frames, first.shape, first.names):
                raise UserError(
                    f"{path}: {part.files[0].name} holds {_shown(part)}, {first.files[0].name} holds {_shown(first)}: "
                    "sequences must be of one shape and length, cut them or leave some out"
                )
        self._stops = list(accumulate(part.sequences for part in parts))
        self._used: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()
        self.sequences, self.frames, self.shape = self._stops[-1], first.frames, first.shape
        self.names, self.units, self.layout = first.names, first.units, first.layout
        self.dims = first.dims
        self.chunk = first.chunk
        self.files = tuple(file for part in parts for file in part.files)
        self.description = f"{path.name}: {len(parts)} files such as {first.description}"

    @property
    def exact(self) -> bool:
        """Of all parts."""
        return all(part.exact for part in self._parts)

    @property
    def coordinates(self) -> Mapping[str, Coordinate]:
        """Those of the first part."""
        return self._parts[0].coordinates

    def along(self, letter: str) -> Coordinate | None:
        return self._parts[0].along(letter)

    def read(self, sequence: int, first: int, count: int) -> np.ndarray:
        number = bisect_right(self._stops, sequence)
        part = self._parts[number]
        with self._lock:  # no file is closed while another thread reads it
            self._used[number] = None
            self._used.move_to_end(number)
            if len(self._used) > _OPEN:
                self._parts[self._used.popitem(last=False)[0]].close()
            return part.read(sequence - self._stops[number] + part.sequences, first, count)

    def close(self) -> None:
        for part in self._parts:
            part.close()


def _shown(part: Source) -> str:
    names = f"{', '.join(part.names)} " if part.names else ""
    return f"{names}{part.frames} frames {part.shape}"
