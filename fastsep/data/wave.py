from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastsep.data.base import DataConfig


@dataclass(frozen=True)
class Wave(DataConfig):
    name: ClassVar[str] = "wave"


@dataclass(frozen=True)
class Wave100(Wave):
    name: ClassVar[str] = "wave100"
