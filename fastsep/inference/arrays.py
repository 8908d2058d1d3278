"""What callers hand in, checked and a batch at a time; and results as the kind that was handed in.

Letters: B sequences, n conditioning frames, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

import operator
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)

MAX_HORIZON = 1_000_000
_NEAR_UNIT = (-1.0, 2.0)
"""Where frames of 0 to 1 lie, if somewhat beside."""
_NEAR_STANDARD = (1.0, 3.0)
"""Most that the mean and the deviation of frames of mean 0 and deviation 1 are, if somewhat beside."""


class Given(Generic[Array]):
    """An array (B, ...) of floating-point numbers, with or without its first axis, of which batches become float32."""

    def __init__(self, values: Array, name: str, axes: tuple[str | int, ...]):
        """Take ``values`` of the shape (B, *axes), or without B; an axis given by name may have any length.

        Raises:
            ValueError: they are something else; the message says what is expected.
        """
        self.name = name
        self.is_torch = isinstance(values, Tensor)
        self.wanted = f"({', '.join(map(str, ('sequences', *axes)))})"
        if not isinstance(values, np.ndarray | Tensor):
            raise ValueError(f"{name} is of {type(values).__name__}: a NumPy array or a tensor {self.wanted} is needed")
        if not (values.dtype.is_floating_point if self.is_torch else values.dtype.kind == "f"):
            raise ValueError(f"{name} holds {values.dtype}: floating-point numbers in the data's units are needed")
        if isinstance(values, np.ma.MaskedArray):
            values = values.filled(np.nan)
        self.single = values.ndim == len(axes)
        self.values = values[None] if self.single else values
        self.left_out = 0  # entries of the second axis before those that count
        lengths = self.values.shape[1:]
        if len(lengths) != len(axes) or any(isinstance(a, int) and a != n for a, n in zip(axes, lengths, strict=True)):
            raise ValueError(
                f"{name} has shape {tuple(values.shape)}: {self.wanted}, or one sequence without the first axis, "
                "is needed"
            )

    def __len__(self) -> int:
        return len(self.values)

    def keep_last(self, count: int) -> None:
        """Let the last ``count`` entries of the second axis alone count."""
        self.left_out += self.values.shape[1] - count
        self.values = self.values[:, self.left_out :]

    def batch(self, first: int, last: int, device: torch.device) -> Tensor:
        """Some of them, float32 on ``device``."""
        part = self.values[first:last]
        if isinstance(part, Tensor):
            return part.detach().to(device, torch.float32)
        with np.errstate(over="ignore"):  # to infinity, which is refused where it counts
            return torch.from_numpy(np.array(part, np.float32, order="C")).to(device)

    def require_finite(self, batch: Tensor, first: int, counted: Tensor | None = None) -> None:
        """Raise ValueError for a number that is not finite; of the last axes only where ``counted`` is true."""
        broken = ~batch.isfinite() if counted is None else ~batch.isfinite() & counted
        if broken.any():
            place = broken.nonzero()[0].tolist()
            place[0] += first
            place[1] += self.left_out
            raise ValueError(
                f"{self.name} holds {batch[broken][0].item()} in float32 at {tuple(place[self.single :])}: finite "
                "numbers are needed"
            )

    def require_unit(self, batch: Tensor) -> None:
        """Raise ValueError for frames that are far from lying in 0 to 1, such as bytes."""
        low, high = (batch.min(), batch.max()) if batch.numel() else (0.0, 0.0)
        if low < _NEAR_UNIT[0] or high > _NEAR_UNIT[1]:
            raise ValueError(f"{self.name} goes from {low:g} to {high:g}: the run was trained on frames of 0 to 1")

    def require_standard(self, batch: Tensor) -> None:
        """Raise ValueError for frames (b, n, C, *space) of which one is far from a mean of 0 and a deviation of 1."""
        cells = batch.flatten(3)
        mean, deviation = cells.mean(3).abs().max(), cells.std(3, unbiased=False).max()
        if mean > _NEAR_STANDARD[0] or deviation > _NEAR_STANDARD[1]:
            raise ValueError(
                f"{self.name} has frames of a mean up to {mean:g} and a deviation up to {deviation:g}: the run was "
                "trained on frames of mean 0 and deviation 1"
            )

    def like(self, values: Tensor) -> Array:
        """A result (B, ...) on the host as the kind, and on the device, that was given."""
        values = values[0] if self.single else values
        return values if self.is_torch else values.numpy()

    @property
    def home(self) -> torch.device:
        """Where results go."""
        return self.values.device if self.is_torch else torch.device("cpu")


def require_alike(first: Given, second: Given) -> None:
    """Raise ValueError unless both hold as many sequences, of one kind."""
    if (len(first), first.single, first.is_torch) != (len(second), second.single, second.is_torch):
        raise ValueError(
            f"{first.name} is {_kind(first)}, {second.name} is {_kind(second)}: "
            "as many sequences of one kind are needed"
        )


def whole_number(value: Any, name: str, most: int = MAX_HORIZON) -> int:
    """``value`` from 1 to ``most``. Raises ValueError for anything else."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if not 1 <= number <= most:
        raise ValueError(f"{name} is {value!r:.50}: a whole number from 1 to {most:,} is needed")
    return number


def _kind(given: Given) -> str:
    many = "one sequence" if given.single else f"{len(given)} sequences"
    return f"a {'tensor' if given.is_torch else 'NumPy array'} of {many}"
