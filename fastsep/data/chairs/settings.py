"""Settings of Chairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fastsep.data.base import DataConfig


@dataclass(frozen=True)
class Chairs(DataConfig):
    """Chairs. ``data`` is the file that ``python -m fastsep.prepare_chairs`` wrote [data/chairs.npy]."""

    name: ClassVar[str] = "chairs"
    module: ClassVar[str] = "fastsep.data.chairs.reader"
    default_path: ClassVar[Path | None] = Path("data/chairs.npy")
