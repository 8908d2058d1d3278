from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastsep.data.base import DataConfig


@dataclass(frozen=True)
class SST(DataConfig):
    name: ClassVar[str] = "sst"
