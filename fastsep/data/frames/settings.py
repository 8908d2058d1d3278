"""Settings of your own frames."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from fastsep.data.base import DataConfig
from fastsep.data.formats.listing import natural_key
from fastsep.errors import UserError
from fastsep.settings import AT_RESUME, Pattern, Range

_SUFFIXES = (".npy", ".h5", ".hdf5")
"""Of the files in a folder that are sequences."""


@dataclass(frozen=True)
class Frames(DataConfig):
    """Your own frames: HDF5, NetCDF, Zarr, .npy, .npz, a folder of .npy, or the HDF5 layout of The Well."""

    name: ClassVar[str] = "frames"
    module: ClassVar[str] = "fastsep.data.frames.reader"
    protocol: ClassVar[str] = "fastsep.evaluation.own_data:OwnFrames"
    scaled: ClassVar[bool] = True
    takes_all: ClassVar[bool] = True

    data: Annotated[Path | None, AT_RESUME] = None
    """File or folder of the frames."""
    variable: Annotated[tuple[str, ...], Pattern(r"[^\0]+", "names of variables")] = ()
    """Variables of the file, stacked as channels [the only one that can be frames]."""
    layout: Annotated[str | None, Pattern(r"[ntchwp]{2,5}", "axes in order, of n, t, c, h, w and p, such as nthw")] = (
        None
    )
    """Axes in order: n sequences, t time, c channels, h height, w width, p points [by their names in the
    file, else by number and sizes]."""
    scale: Literal["minmax", "standard", "none"] = "standard"
    """Each channel, by the training part alone: to 0..1, to mean 0 and deviation 1, or not at all."""
    fill: Literal["none", "linear"] = "none"
    """What takes the place of values that are missing now and then: none refuses them, linear takes the line between
    their neighbours in time (at the ends the nearest). Cells that are always missing are left out by themselves."""
    split: Literal["auto", "sequences", "time"] = "auto"
    """What is held out for testing: the last sequences, or the last frames of each; auto takes sequences if there are
    several."""
    test_share: Annotated[float, Range(0.0001, 0.9)] = 0.2
    """Share of the sequences, or of the frames of each, that is held out for testing."""
    test_windows: Annotated[int, Range(1, 10_000_000)] = 2_000
    """Test windows that are scored at most, spread evenly over all that there are."""
    every: Annotated[int, Range(1, 1_000_000)] = 1
    """Keep every K-th frame."""
    buffer: Annotated[int, Range(1, 1_000_000)] = 1_000
    """Memory in MB to shuffle frames in while the model trains, for data that do not fit memory: larger shuffles
    better."""

    def files(self) -> list[Path]:
        """Of a folder of files those that are frames alone: a run may lie among them."""
        try:
            names = sorted(os.listdir(self.data), key=natural_key) if self.data else []
        except OSError:
            names = []
        shown = (name for name in names if name.endswith(_SUFFIXES) and not name.startswith("."))
        return [self.data / name for name in shown] or DataConfig.files(self)

    def at(self, path: Path) -> Frames:
        """Also where the variables' frames lie without names, as in ``.npy``."""
        from fastsep.data.frames.opening import open_as_trained  # settings are read without what reads files

        moved = DataConfig.at(self, path)
        with suppress(UserError), closing(open_as_trained(path, self.variable, self.layout)) as source:
            if not source.names:
                return replace(moved, variable=(), layout=source.layout if self.layout else None)
        return moved  # opening it for good says what is wrong
