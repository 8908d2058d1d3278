"""The files that data consist of, in an order that people would give them."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NUMBER = re.compile(r"(\d+)")


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts texts with the numbers in them by their value: x2 before x10."""
    parts = _NUMBER.split(name)
    return [(int(part), part) if k % 2 else (-1, part) for k, part in enumerate(parts)]


def files_of(path: Path) -> list[Path]:
    """``path`` itself, or all files in the folder and below; what cannot be looked into is left to the reader."""
    if not path.is_dir():
        return [path]
    found = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sorted(found, key=lambda file: natural_key(str(file.relative_to(path))))
