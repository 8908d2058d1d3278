"""Files of frames that are forecast: opened as the run was trained, checked against it.

Letters: N sequences, n conditioning frames, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastsep.data.frames.gaps import fill_linear
from fastsep.data.frames.kept import Kept, read_every
from fastsep.data.frames.opening import open_as_trained, open_source
from fastsep.data.frames.settings import Frames
from fastsep.data.frames.source import Source
from fastsep.errors import UserError
from fastsep.inference.forecaster import Forecaster

_LAYOUTS = ("tp", "thw", "ntp", "tcp", "nthw", "tchw", "thwc", "ntcp", "ntchw", "nthwc")
_AROUND = 8
"""Times n frames that are read first to fill gaps."""


@dataclass(frozen=True)
class FrameFile:
    """A file of frames, and the last n of each sequence."""

    path: Path
    source: Source
    count: int
    """n."""
    every: int
    present: np.ndarray | None
    """*space, bool: the cells that must hold numbers; None where all must."""
    fills: bool
    """Gaps become the line in time between the values around them, as in training."""
    are_bytes: bool
    """Whole numbers up to 255 stand for frames of 0 to 1."""

    def read(self, sequence: int) -> np.ndarray:
        """The last n frames (n, C, *space), every ``every``-th; of the only sequence, whichever is asked for.

        Raises:
            UserError: a value is missing, or the file is damaged.
        """
        sequence = min(sequence, self.source.sequences - 1)
        frames = self._last(sequence, self.count)
        present = np.ones(frames.shape[2:], bool) if self.present is None else self.present
        broken = ~np.isfinite(frames) & present
        if not broken.any():
            whole = self.are_bytes and frames.max() > 1 and (frames == np.rint(frames)).all()
            return frames / np.float32(255) if whole else frames
        if self.fills:
            return self._filled(sequence, present)
        frame, channel, *cell = np.argwhere(broken)[0]
        number = self.source.frames - 1 - (self.count - 1 - frame) * self.every
        raise UserError(
            f"{self.path}: {broken.sum():,} values of sequence {sequence} are missing or not finite, first in frame "
            f"{number}, channel {channel}, at {tuple(map(int, cell))}: fill them, or leave the sequence out"
        )

    def _filled(self, sequence: int, present: np.ndarray) -> np.ndarray:
        """The same as of the whole sequence filled, of which no more is read than the gaps reach back."""
        count, whole = _AROUND * self.count, -(-self.source.frames // self.every)
        while True:
            count = min(count, whole)
            frames = self._last(sequence, count)
            begun = ~np.isfinite(frames[-self.count]) & present  # (C, *space), gaps that begin before
            if count == whole or np.isfinite(frames[: -self.count]).any(0)[begun].all():
                break
            count *= 2
        try:
            fill_linear(Kept(self.source, self.every), sequence, frames, present)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None
        return frames[-self.count :]

    def _last(self, sequence: int, count: int) -> np.ndarray:
        first = self.source.frames - 1 - (count - 1) * self.every
        return np.ascontiguousarray(read_every(self.source, self.every, sequence, first, count))


def open_given(
    path: Path, model: Forecaster, variable: tuple[str, ...], layout: str | None, every: int | None
) -> FrameFile:
    """A file or folder of frames that fits the model, read as the run was trained where the other arguments do not say.

    Raises:
        UserError: there is none, it cannot be read, or its frames do not fit.
    """
    trained = model.config.data
    if problem := trained.refusal(path):
        raise UserError(problem)
    named = bool(variable)
    if isinstance(trained, Frames):
        variable, layout, every = variable or trained.variable, layout or trained.layout, every or trained.every
    every = every or 1
    source = open_source(path, variable, layout) if named else open_as_trained(path, variable, layout)
    if source.shape != model.shape and not layout:
        source = _read_otherwise(source, path, variable if source.names else (), model.shape)
    needed = (model.nt_cond - 1) * every + 1
    if source.shape != model.shape:
        has, wants = ("x".join(map(str, shape)) for shape in (source.shape, model.shape))
        problem = f"{source.description}: frames of {has}, the run's model takes {wants}: give such frames"
        if len(source.shape) != len(model.shape) or sorted(source.shape) == sorted(model.shape):
            problem += ", or say with --layout what the axes are"
    elif source.frames < needed:
        problem = f"{path} has {source.frames} frames a sequence, the run takes {needed}: give longer sequences"
    else:
        fills = isinstance(trained, Frames) and trained.fill == "linear"
        return FrameFile(path, source, model.nt_cond, every, model.scaling.present, fills, trained.are_bytes)
    source.close()
    raise UserError(problem)


def _read_otherwise(source: Source, path: Path, variable: tuple[str, ...], shape: tuple[int, ...]) -> Source:
    """The same file with the only other layout that gives frames of ``shape``; as it is where there is none, or two."""
    fitting = []
    for layout in _LAYOUTS:
        if len(layout) == len(source.layout):
            with suppress(UserError):
                other = open_source(path, variable, layout)
                if other.shape == shape:
                    fitting.append(other)
                else:
                    other.close()
    chosen = fitting[0] if len(fitting) == 1 else source
    for other in {source, *fitting} - {chosen}:
        other.close()
    return chosen
