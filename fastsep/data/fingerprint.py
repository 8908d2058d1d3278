"""Which data these are: a checksum of the sizes and of samples of their files, cheap for any number of gigabytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fastsep.data.base import DataConfig
from fastsep.data.formats.listing import files_of

IN_MEMORY = "made in memory"
_ENDS = 1 << 16  # bytes at either end, where formats keep their headers and indices
_SAMPLE, _SAMPLES = 1 << 12, 32
_FILES = 1000  # that are looked into; of more (the chunks of a Zarr store) all sizes count, and so many are


def fingerprint(config: DataConfig) -> str:
    """A text that is equal for equal files, whatever their names and places; ``IN_MEMORY`` where there are none.

    A folder stands for the files in it and below, in the natural order of their names.

    Files that are absent or cannot be read count as empty: opening the data says what is wrong with them.
    """
    given = config.files()
    if not given:
        return IN_MEMORY
    files = [file for path in given for file in files_of(path)]
    digest, every = hashlib.sha256(), -(-len(files) // _FILES)
    for number, path in enumerate(files):
        if number % every == 0:
            _add(digest, path)
        else:
            _add_size(digest, path)
    return f"sha256:{digest.hexdigest()}"


def _add_size(digest: hashlib._Hash, path: Path) -> None:
    try:
        digest.update(f"{path.stat().st_size};".encode())
    except OSError:
        digest.update(b"absent;")


def _add(digest: hashlib._Hash, path: Path) -> None:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{size};".encode())
            gap = max(size // _SAMPLES, 1)
            samples = [(0, _ENDS), *((first, _SAMPLE) for first in range(gap, size, gap)), (size - _ENDS, _ENDS)]
            for first, count in samples:
                file.seek(max(first, 0))
                digest.update(file.read(count))
    except OSError:
        digest.update(b"absent;")
