"""Frames in the data's own units, and as a model sees them: scaled per channel, missing cells zero, edges padded.

Letters: C channels; ``*space`` the other axes of a frame, ``*padded`` the same with padding.
"""

from __future__ import annotations

import base64
import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fastsep.errors import UserError
from fastsep.files import write_problem, write_text

NAME = "scaling.json"
"""The file in a run directory."""

Values = TypeVar("Values", np.ndarray, Tensor)


@dataclass(frozen=True, eq=False)
class Scaling:
    """What turns frames (..., C, *space) in the data's units into those of a model, and back.

    A cell that is never measured (land, a dead sensor) enters as 0 and comes back as NaN; padding, which fits frames to
    a network, is taken off again.
    """

    space: tuple[int, ...]
    """Height and width, or the number of points, as measured."""
    shift: np.ndarray
    """(C,) float32, taken from each channel."""
    factor: np.ndarray
    """(C,) float32, what each channel is divided by then; nowhere 0."""
    present: np.ndarray | None = None
    """*space, bool: the cells that are measured; None where all are."""
    padding: tuple[int, ...] = ()
    """Cells added at the end of each axis of ``space``; () adds none."""
    names: tuple[str, ...] = ()
    """Of the channels, where the data name them."""
    units: tuple[str, ...] = ()
    """Of the channels, where the data say."""

    @classmethod
    def identity(cls, shape: tuple[int, ...]) -> Scaling:
        """For frames (C, *space) = ``shape`` whose units are those that the model sees."""
        return cls(tuple(shape[1:]), np.zeros(shape[0], np.float32), np.ones(shape[0], np.float32))

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *padded), a frame as the model sees it."""
        padding = self.padding or (0,) * len(self.space)
        return len(self.shift), *(size + extra for size, extra in zip(self.space, padding, strict=True))

    @property
    def mask(self) -> np.ndarray | None:
        """The cells of the model's frames that count, *padded bool; None where all do."""
        if not any(self.padding):
            return self.present
        present = np.ones(self.space, bool) if self.present is None else self.present
        return np.pad(present, [(0, extra) for extra in self.padding])

    def scale(self, frames: Values) -> Values:
        """(..., C, *space) in the data's units -> (..., C, *padded) float32."""
        values = torch.as_tensor(frames).float()
        shift, factor = self._factors(values)
        values = self._blank((values - shift) / factor, 0.0)
        if any(self.padding):
            values = F.pad(values, [n for extra in reversed(self.padding) for n in (0, extra)])
        return _like(frames, values)

    def scale_into(self, frames: np.ndarray, out: np.ndarray) -> None:
        """``scale`` without further arrays or threads: (..., C, *space) -> ``out`` (..., C, *padded) float32.

        The padding of ``out`` is left as it is.
        """
        inner = out[(..., *(slice(size) for size in self.space))]
        ones = (1,) * len(self.space)
        with np.errstate(invalid="ignore", over="ignore"):  # what becomes infinite is for the caller to find
            np.subtract(frames, self.shift.reshape(-1, *ones), out=inner)
            np.divide(inner, self.factor.reshape(-1, *ones), out=inner)
        if self.present is not None:
            np.copyto(inner, 0, where=~self.present)

    def unscale(self, frames: Values) -> Values:
        """(..., C, *padded) -> (..., C, *space) float32 in the data's units, missing cells NaN."""
        values = torch.as_tensor(frames).float()
        values = values[(..., *(slice(size) for size in self.space))]
        shift, factor = self._factors(values)
        return _like(frames, self._blank(values * factor + shift, torch.nan))

    def write(self, run: Path) -> None:
        """Keep it in the run directory.

        Raises:
            UserError: it cannot be written.
        """
        present = None
        if self.present is not None:
            present = base64.b64encode(np.packbits(self.present)).decode()
        value = {
            "space": self.space, "shift": self.shift.tolist(), "factor": self.factor.tolist(), "present": present,
            "padding": self.padding, "names": self.names, "units": self.units,
        }  # fmt: skip
        try:
            write_text(run / NAME, json.dumps(value, indent=2) + "\n")
        except OSError as error:
            raise write_problem(run / NAME, error, "choose another --out") from None

    @classmethod
    def read(cls, run: Path, shape: tuple[int, ...]) -> Scaling | None:
        """That of a run whose model takes frames of ``shape``; None where it kept none.

        Raises:
            UserError: the file is damaged or belongs to another model.
        """
        if not os.path.lexists(run / NAME):
            return None
        try:
            value = json.loads((run / NAME).read_text())
            scaling = cls(
                tuple(int(size) for size in value["space"]), np.array(value["shift"], np.float32),
                np.array(value["factor"], np.float32), None, tuple(int(extra) for extra in value["padding"]),
                tuple(map(str, value["names"])), tuple(map(str, value["units"])),
            )  # fmt: skip
            whole = np.isfinite(scaling.shift).all() and np.isfinite(scaling.factor).all() and scaling.factor.all()
            if not whole or scaling.shape != tuple(shape) or scaling.factor.shape != scaling.shift.shape:
                raise ValueError("it does not fit the run's model")
            if value["present"] is None:
                return scaling
            bits = np.frombuffer(base64.b64decode(value["present"], validate=True), np.uint8)
            cells = math.prod(scaling.space)
            if len(bits) != -(-cells // 8):
                raise ValueError("it does not fit the run's model")
            return replace(scaling, present=np.unpackbits(bits, count=cells).astype(bool).reshape(scaling.space))
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise UserError(f"{run / NAME} is damaged ({error}): take the run from a copy, or train anew") from None

    def _factors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and factor (C, 1, ...) on the device of ``like``."""
        ones = (1,) * len(self.space)
        shift, factor = (torch.from_numpy(value).to(like.device) for value in (self.shift, self.factor))
        return shift.view(-1, *ones), factor.view(-1, *ones)

    def _blank(self, values: Tensor, missing: float) -> Tensor:
        """Set the cells that are never measured."""
        if self.present is None:
            return values
        return values.masked_fill(~torch.from_numpy(self.present).to(values.device), missing)


def _like(given: Values, values: Tensor) -> Values:
    """``values`` as the kind that was given."""
    return values if isinstance(given, Tensor) else values.numpy()
