"""Settings of TaxiBJ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from fastsep.data.appearance import Appearance
from fastsep.data.base import DataConfig, Values


@dataclass(frozen=True)
class TaxiBJ(DataConfig):
    """TaxiBJ. ``data`` is the directory of the four files BJ{13..16}_M32x32_T30_InOut.h5 [data/taxibj]."""

    name: ClassVar[str] = "taxibj"
    module: ClassVar[str] = "fastsep.data.taxibj.reader"
    protocol: ClassVar[str] = "fastsep.evaluation.protocols:TaxiBJProtocol"
    appearance: ClassVar[Appearance] = Appearance("TaxiBJ", "inflow, scaled to 0..1", "magma", None, "half hours")
    values: ClassVar[Values] = "unit"
    default_path: ClassVar[Path | None] = Path("data/taxibj")

    order: Literal["published", "chronological"] = "published"
    """Frames of a window: newest first as the authors' code returns them, which makes forecasts run back in time;
    or oldest first."""

    @property
    def newest_first(self) -> bool:
        return self.order == "published"

    def files(self) -> list[Path]:
        return [self.path / f"BJ{year}_M32x32_T30_InOut.h5" for year in (13, 14, 15, 16)]
