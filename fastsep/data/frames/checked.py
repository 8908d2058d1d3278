"""Arrays with this program's checksums (``fastsep.data.formats.checksum``), compared before they are given away."""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Callable

import numpy as np

from fastsep.data.frames.array import Index

_PIECE = 16 << 20  # bytes read at once

Fetch = Callable[[Index], np.ndarray]


class Checked:
    """Reads an array by ``fetch_raw``; a row, all that belongs to one index of the first axis, is checked once.

    Args:
        sums: reads the checksums when the first part is asked for: one of each row (rows,) uint32, one of the whole
            array (), or None of an array that has none. May raise ValueError.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        fetch_raw: Fetch,
        sums: Callable[[], np.ndarray | None],
    ):
        self._name, self._shape, self._fetch, self._read_sums = name, shape, fetch_raw, sums
        inner = dtype.itemsize * math.prod(shape[2:])
        self._step = max(1, _PIECE // max(1, inner))  # along the second axis
        self._sums: np.ndarray | None = None
        self._checked: np.ndarray | None = None
        self._lock = threading.Lock()

    def fetch(self, index: Index) -> np.ndarray:
        """A part of the array. Raises ValueError where it does not fit its checksum."""
        with self._lock:
            if self._checked is None:
                self._sums = self._read_sums()
                if self._sums is not None and not self._sums.ndim:
                    self._compare(range(self._shape[0] if self._shape else 1), self._sums, "its values do")
                    self._sums = None
                self._checked = np.zeros(self._shape[:1], bool)
            for row in range(index[0].start, index[0].stop) if self._sums is not None else ():
                if not self._checked[row]:
                    self._compare(range(row, row + 1), self._sums[row], f"row {row} does")
                    self._checked[row] = True
        return self._fetch(index)

    def _compare(self, rows: range, expected: np.ndarray, what: str) -> None:
        value = 0
        for row in rows:
            for at in range(0, self._shape[1] if len(self._shape) > 1 else 1, self._step):
                ends = (slice(row, row + 1), slice(at, min(at + self._step, self._shape[1] if self._shape[1:] else 1)))
                rest = tuple(slice(0, size) for size in self._shape[2:])
                part = self._fetch((*ends, *rest)[: len(self._shape)])
                part = np.ascontiguousarray(part, part.dtype.newbyteorder("<"))
                value = zlib.crc32(memoryview(part.reshape(-1).view(np.uint8)), value)
        if value != int(expected):
            raise ValueError(f"{self._name or 'the array'}: {what} not fit the checksum")
