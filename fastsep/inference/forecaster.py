"""A trained run for other programs: arrays in, arrays out, in the data's own units.

Letters: B sequences, n conditioning frames, h forecast horizon, K frames of a trajectory, C channels, L size of T;
``*space`` the other axes of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from fastsep.config import Config
from fastsep.data.scaling import Scaling
from fastsep.errors import UserError
from fastsep.inference.arrays import Array, Given, require_alike, whole_number
from fastsep.machine.exact import exact_products
from fastsep.machine.precision import resolve_device
from fastsep.model import SeparableModel, Static
from fastsep.room import frames_at_once
from fastsep.runs.checkpoint import load_model
from fastsep.runs.directory import kept_scaling
from fastsep.settings import as_path


def load(run: str | Path, device: str | torch.device = "auto", best: bool = False) -> Forecaster:
    """The newest checkpoint of a run, ready to forecast.

    Args:
        run: run directory, as training wrote it.
        device: auto (the GPU where there is one), cpu, cuda or cuda:N.
        best: take the checkpoint with the least error in validation instead.

    Raises:
        UserError: there is no run, none of its checkpoints is whole, or the device is not to be had.
    """
    path, target = as_path(run), resolve_device(str(device))
    if path is None:
        raise UserError(f"{run!r:.100} is no path, or in the home directory of nobody here: give a run directory")
    model, config, checkpoint = load_model(path, target, folded=True, best=best)
    scaling = kept_scaling(path, config) or Scaling.identity(config.model.shape)
    return Forecaster(model, config, scaling, target, checkpoint.step)


class Forecaster:
    """Forecasts sequences from their last n frames; ``fastsep.load`` makes one.

    Frames are NumPy arrays or tensors of floating-point numbers, (B, K, C, *space), or (K, C, *space) for one sequence;
    results are float32 of the same kind, on the device of what was given, with or without B alike. They are in the
    units of the run's data; for the paper's data sets these are the ones that the model was trained on (0 to 1 where
    it scales; oldest first, but for TaxiBJ in its published order). Cells that the run knows as missing may hold
    anything, and come back as NaN. Products are exact float32, whatever PyTorch is set to; work is cut into batches
    that fit memory.
    """

    def __init__(self, model: SeparableModel, config: Config, scaling: Scaling, device: torch.device, step: int):
        self.model = model
        """In evaluation mode, batch norms folded; it takes frames as the run scales them."""
        self.config = config
        """The run's settings."""
        self.scaling = scaling
        """Between the data's units and the model's; names and units of the channels."""
        self.device = device
        self.step = step
        """After which the weights were kept."""

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"Forecaster({self.config.data.name}, {self.nt_cond} frames of {shape}, {self.device})"

    @property
    def backwards(self) -> bool:
        """The run takes and forecasts frames newest first, as TaxiBJ's published ones do."""
        return self.config.data.newest_first

    @property
    def nt_cond(self) -> int:
        """n, the frames that a forecast needs; of more it uses the last."""
        return self.config.model.nt_cond

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *space), a frame in the data's units."""
        return len(self.scaling.shift), *self.scaling.space

    def forecast(self, frames: Array, horizon: int) -> Array:
        """The ``horizon`` frames after ``frames`` (B, K >= n, C, *space): (B, horizon, C, *space).

        Raises:
            ValueError: frames or a horizon that do not fit; the message says what is expected.
        """
        return self.swap(frames, frames, horizon)

    def swap(self, content: Array, motion: Array, horizon: int) -> Array:
        """A forecast with S of ``content`` and T of ``motion``, each (B, K >= n, C, *space): (B, horizon, C, *space).

        Raises:
            ValueError: as ``forecast``; also for another number of sequences in one than in the other.
        """
        horizon = whole_number(horizon, "horizon")
        first = self._frames(content, "frames" if motion is content else "content")
        second = first if motion is content else self._frames(motion, "motion")
        require_alike(first, second)
        out = torch.empty(len(first), horizon, *self.shape, dtype=torch.float32, device=first.home)
        for rows, times, frames in self.pieces(first, second, horizon):
            out[rows, times] = frames.to(out.device)
        return first.like(out)

    def encode(self, frames: Array) -> tuple[Array | tuple[Array, ...], Array]:
        """S and T of ``frames`` (B, K >= n, C, *space): (B, s, ...) and (B, L, ...), T at the first decoded frame.

        That frame is the first of the last n, or the one after them where the run was trained with offset 0. S of a
        run with skip connections is a tuple: the code, then the encoder's features (B, c, h, w).

        Raises:
            ValueError: frames that do not fit.
        """
        given = self._frames(frames, "frames")
        parts: list[list[Tensor]] = [
            [torch.empty(0, *shape, dtype=torch.float32, device=given.home)] for shape in self._codes
        ]
        with self._exact():
            for rows in self._batches(len(given), 1):
                static, t0 = self.model.describe(self._scaled(given, rows))
                for kept, part in zip(parts, (t0, *static.parts), strict=True):
                    kept.append(part.to(given.home))
        t0, *static = (given.like(torch.cat(kept)) for kept in parts)
        return tuple(static) if len(static) > 1 else static[0], t0

    def roll_out(self, dynamic: Array, frames: int) -> Array:
        """T (B, L, ...) and what it becomes in the ``frames - 1`` frames after: (B, frames, L, ...).

        Raises:
            ValueError: codes or a number that do not fit.
        """
        given, frames = Given(dynamic, "T", self._codes[0]), whole_number(frames, "frames")
        out = torch.empty(len(given), frames, *self._codes[0], dtype=torch.float32, device=given.home)
        with self._exact():
            for rows in self._batches(len(given), frames):
                for times, codes in self._trajectory(self._code(given, rows), frames, rows):
                    out[rows, times] = codes.transpose(0, 1).to(out.device)
        return given.like(out)

    def decode(self, static: Array | tuple[Array, ...], dynamic: Array) -> Array:
        """S and T of ``encode``: (B, C, *space). T may also be a trajectory (B, K, L, ...): (B, K, C, *space).

        Raises:
            ValueError: codes that do not fit.
        """
        shape, *others = self._codes
        parts = static if isinstance(static, tuple) else (static,)
        if len(parts) != len(others):
            raise ValueError(f"S has {len(parts)} parts: {len(others)} are needed, as encode returns them")
        statics = [Given(part, "S", wanted) for part, wanted in zip(parts, others, strict=True)]
        is_trajectory = getattr(dynamic, "ndim", 0) - (not statics[0].single) > len(shape)
        given = Given(dynamic, "T", ("frames", *shape) if is_trajectory else shape)
        for part in statics:
            require_alike(part, given)
        count = given.values.shape[1] if is_trajectory else 1
        out = torch.empty(len(given), count, *self.shape, dtype=torch.float32, device=given.home)
        with self._exact():
            for rows in self._batches(len(given), max(1, count)):
                code, *skips = (self._code(part, rows) for part in statics)
                codes = self._code(given, rows)
                codes = codes.transpose(0, 1) if is_trajectory else codes[None]  # (K, rows, L, ...)
                for times in self._times(count, rows):
                    frames = self.model.decode(Static(code, tuple(skips)), codes[times])
                    out[rows, times] = self.scaling.unscale(frames.transpose(0, 1)).to(out.device)
        return given.like(out if is_trajectory else out[:, 0])

    def pieces(self, content: Given, motion: Given, horizon: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Forecasts a part at a time: which sequences and which frames, and these (b, k, C, *space) on ``device``.

        Raises:
            ValueError: frames that are not finite.
        """
        found = self._pieces(content, motion, horizon)
        while True:
            with self._exact():  # not while the caller has the piece
                piece = next(found, None)
            if piece is None:
                return
            yield piece

    def _pieces(self, content: Given, motion: Given, horizon: int) -> Iterator[tuple[slice, slice, Tensor]]:
        offset = self.config.model.offset
        for rows in self._batches(len(content), horizon):
            static, t0 = self.model.describe(self._scaled(content, rows))
            if motion is not content:
                t0 = self.model.encode_dynamic(self._scaled(motion, rows)[None])[0]
            for times, codes in self._trajectory(t0, offset + horizon, rows):
                first = max(times.start, offset)
                if first < times.stop:
                    frames = self.model.decode(static, codes[first - times.start :])  # (k, b, *shape)
                    shown = slice(first - offset, times.stop - offset)
                    yield rows, shown, self.scaling.unscale(frames.transpose(0, 1))

    @cached_property
    def _codes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of T and of the parts of S, without B."""
        with self._exact():
            static, t0 = self.model.describe(torch.zeros(1, self.nt_cond, *self.scaling.shape, device=self.device))
        return tuple(tuple(part.shape[1:]) for part in (t0, *static.parts))

    @cached_property
    def _counted(self) -> Tensor | None:
        """The cells *space that are not missing; None where none is."""
        present = self.scaling.present
        return None if present is None else torch.from_numpy(present).to(self.device)

    def _frames(self, values: Array, name: str) -> Given:
        given = Given(values, name, ("frames", *self.shape))
        if given.values.shape[1] < self.nt_cond:
            raise ValueError(
                f"{name} has {given.values.shape[1]} frames a sequence: at least {self.nt_cond} are needed"
            )
        given.keep_last(self.nt_cond)
        return given

    def _scaled(self, given: Given, rows: slice) -> Tensor:
        frames = given.batch(rows.start, rows.stop, self.device)
        given.require_finite(frames, rows.start, self._counted)
        frames = self.scaling.scale(frames)
        data = self.config.data
        if data.values == "standard":
            given.require_standard(frames)
        elif data.values == "unit" or (self.config.model.last_activation == "sigmoid" and not data.scaled):
            given.require_unit(frames)
        return frames

    def _code(self, given: Given, rows: slice) -> Tensor:
        code = given.batch(rows.start, rows.stop, self.device)
        given.require_finite(code, rows.start)
        return code

    def _trajectory(self, t0: Tensor, frames: int, rows: slice) -> Iterator[tuple[slice, Tensor]]:
        """T_0 ... T_{frames-1} of T_0 (b, L, ...), some at a time: which, and these (k, b, L, ...)."""
        state = t0
        for times in self._times(frames, rows):
            first = times.start == 0
            codes = self.model.roll_out(state, times.stop - times.start + (not first))
            yield times, codes if first else codes[1:]
            state = codes[-1]

    def _batches(self, sequences: int, frames: int) -> Iterator[slice]:
        """Sequences whose ``frames`` frames fit memory."""
        return _slices(sequences, max(1, self._at_once // frames))

    def _times(self, frames: int, rows: slice) -> Iterator[slice]:
        """Frames that fit memory for these sequences."""
        return _slices(frames, max(1, self._at_once // (rows.stop - rows.start)))

    @property
    def _at_once(self) -> int:
        return frames_at_once(self.config.model, self.device)

    @contextmanager
    def _exact(self) -> Iterator[None]:
        with exact_products(), torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            yield


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(first, min(first + step, count)) for first in range(0, count, step))
