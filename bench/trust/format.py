"""What a kind of file is to the mutations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Arrays = Iterator[Any]


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    make: Callable[[Path], None]
    """Writes a good one into an empty folder."""
    files: str
    """Pattern of the files in the folder that are changed."""
    read: Callable[[Path], Arrays]
    """Reads what lies in the folder as the program does: arrays, numbers and texts."""
    checked: bool = False
    """Checksums cover what is read: it is as it was written, or refused."""
    share: float = 1.0
    """How often it is tried, beside others; less for those that take long."""
