"""The checksum that arrays carry in the files of this program."""

from __future__ import annotations

import zlib

import numpy as np


def checksum(values: np.ndarray) -> int:
    """CRC-32 of the values of an array, in the order of its rows and with their low bytes first."""
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return zlib.crc32(memoryview(values.reshape(-1).view(np.uint8)))
