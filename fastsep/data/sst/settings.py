"""Settings of the sea surface temperature, and of cutting an ocean model into zones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from fastsep.data.appearance import Appearance
from fastsep.data.base import DataConfig, Values
from fastsep.errors import UserError
from fastsep.settings import Range, Settings


@dataclass(frozen=True)
class SST(DataConfig):
    """Sea surface temperature. ``data`` is the directory of the files data_{zone}.nc [data/sst]."""

    name: ClassVar[str] = "sst"
    module: ClassVar[str] = "fastsep.data.sst.reader"
    protocol: ClassVar[str] = "fastsep.evaluation.protocols:SSTProtocol"
    appearance: ClassVar[Appearance] = Appearance(
        "SST", "temperature, each frame normalised [std]", "RdYlBu_r", None, "days"
    )
    values: ClassVar[Values] = "standard"
    default_path: ClassVar[Path | None] = Path("data/sst")

    zones: Annotated[tuple[int, ...], Range(1, 1_000_000)] = tuple(range(1, 30))
    """Zones to train on."""
    test_zones: Annotated[tuple[int, ...], Range(1, 1_000_000)] = (17, 18, 19, 20)
    """Zones to test on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.zones and self.test_zones):
            raise UserError("there are no zones: name some with --zones and --test-zones")

    def files(self) -> list[Path]:
        return [self.path / f"data_{zone}.nc" for zone in sorted({*self.zones, *self.test_zones})]


@dataclass(frozen=True)
class Region(Settings):
    """The part of the ocean to cut into zones."""

    lat_min: Annotated[float, Range(-90, 90)] = -90.0
    """Southern edge of the box in degrees [that of the files]."""
    lat_max: Annotated[float, Range(-90, 90)] = 90.0
    """Northern edge."""
    lon_min: Annotated[float, Range(-360, 360)] = -180.0
    """Western edge in degrees east, counted from -180 or from 0, whichever way the files count [that of the files]."""
    lon_max: Annotated[float, Range(-360, 360)] = 360.0
    """Eastern edge."""
    depth: Annotated[float, Range(0, 12_000)] = 0.494
    """Level in metres; the nearest one is taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (("lat_min", "lat_max"), ("lon_min", "lon_max")):
            if not getattr(self, low) < getattr(self, high):
                flags = " below ".join(f"--{name.replace('_', '-')}" for name in (low, high))
                raise UserError(f"the box from {getattr(self, low):g} to {getattr(self, high):g} is empty: set {flags}")
