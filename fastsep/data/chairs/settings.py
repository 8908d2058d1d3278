"""Settings of Chairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fastsep.data.appearance import Appearance
from fastsep.data.base import DataConfig


@dataclass(frozen=True)
class Chairs(DataConfig):
    """Chairs. ``data`` is the file that ``python -m fastsep.prepare_chairs`` wrote [data/chairs.npy]."""

    name: ClassVar[str] = "chairs"
    module: ClassVar[str] = "fastsep.data.chairs.reader"
    protocol: ClassVar[str] = "fastsep.evaluation.protocols:ChairsProtocol"
    appearance: ClassVar[Appearance] = Appearance("Chairs", "colour", "gray", (0.0, 1.0), "views")
    are_bytes: ClassVar[bool] = True
    default_path: ClassVar[Path | None] = Path("data/chairs.npy")
