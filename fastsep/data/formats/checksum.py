"""The checksum that arrays carry in the files of this program."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

MARK = b"fastsep1"
"""How checksums after an array end."""
PAGE = 4096
"""Length of the header of a ``.npy`` file whose array is followed by checksums: a sign that they have to be there."""


def checksum(values: np.ndarray) -> int:
    """CRC-32 of the values of an array, in the order of its rows and with their low bytes first."""
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return zlib.crc32(memoryview(values.reshape(-1).view(np.uint8)))


def pack_checksums(sums: Sequence[int]) -> bytes:
    """What follows an array in a ``.npy``, where NumPy does not look: a CRC-32 of each row, of these, and a mark."""
    packed = np.array(sums, "<u4").tobytes()
    return packed + zlib.crc32(packed).to_bytes(4, "little") + MARK


def unpack_checksums(trailer: bytes, rows: int) -> np.ndarray:
    """The checksums (rows,) uint32 that ``trailer`` holds. Raises ValueError if it is damaged."""
    sums = np.frombuffer(trailer[: 4 * rows], "<u4")
    if len(sums) != rows or trailer != pack_checksums(sums.tolist()):
        raise ValueError("the checksums after its array are damaged")
    return sums
