"""Where kernels keep what took long to find out or to compile."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path | None:
    """``$XDG_CACHE_HOME/fastsep``, by default ``~/.cache/fastsep``; None where the user has no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "fastsep"
    except RuntimeError:
        return None
