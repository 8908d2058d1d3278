"""Room on a disk, looked at before hours of work go into a file that would not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

from fastsep.errors import UserError


def require_space(folder: Path, size: int) -> None:
    """Raise ``UserError`` if the disk of ``folder``, which need not exist yet, has no room for ``size`` bytes."""
    folder = folder.absolute()
    try:
        free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    except OSError:  # the writing itself will say what is wrong
        return
    if size > free:
        raise UserError(
            f"{folder} has {readable(free)} free, {readable(size)} needed: free some or choose another --out"
        )


def readable(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"
