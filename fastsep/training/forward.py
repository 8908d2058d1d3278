"""The forward pass of a step, in the pieces that a compiler gets and that a GPU may run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fastsep.config import ObjectiveConfig
from fastsep.machine.precision import autocast
from fastsep.model import SeparableModel, Static
from fastsep.objective import Cells, Losses, decode, encode_static, losses, roll_out


class Forward:
    """Losses of a batch: ``forward(*batch)`` is ``objective(model, video, end, config)`` over ``cells``.

    Args:
        dtype: of matrix products.
        compile: each piece by itself.
    """

    beside: torch.cuda.Stream | None = None
    """Where S is computed meanwhile, if anywhere: a stream of the model's GPU other than the current one.

    S takes nothing from T and its rollout. Maps deep in an encoder are too small to fill a large GPU, and a rollout is
    a long chain of small products. Autograd runs the backward pass of each on the stream of its forward pass.
    """

    def __init__(
        self,
        model: SeparableModel,
        config: ObjectiveConfig,
        dtype: torch.dtype,
        cells: Cells | None = None,
        compile: bool = False,
    ):
        self.model, self.config, self.dtype, self.cells = model, config, dtype, cells
        self.pieces: tuple[Callable[..., Any], ...] = self._encode_static, self._roll_out, self._finish
        if compile:
            self.pieces = tuple(torch.compile(piece, dynamic=False) for piece in self.pieces)

    def __call__(self, video: Tensor, end: Tensor) -> Losses:
        """Terms for ``video`` (B, n + m, *shape) float32 and r, an int64 scalar tensor, see ``objective``."""
        encode, roll, finish = self.pieces
        with self._on_beside():
            static = encode(video)
        codes = roll(video, end)
        self.join()
        return finish(static, codes, video, end)

    def plain(self, video: Tensor, end: Tensor) -> Losses:
        """The same, neither compiled nor beside each other."""
        return self._finish(self._encode_static(video), self._roll_out(video, end), video, end)

    def join(self) -> None:
        """Let the current stream wait for what runs beside it."""
        if self.beside is not None:
            torch.cuda.current_stream(self.beside.device).wait_stream(self.beside)

    @contextmanager
    def _on_beside(self) -> Iterator[None]:
        if self.beside is None:
            yield
            return
        self.beside.wait_stream(torch.cuda.current_stream(self.beside.device))
        with torch.cuda.stream(self.beside):
            yield

    # Between compiled pieces a gradient is copied into the layout that is usual for its number of dimensions: calls and
    # sequences go through as one, so that channels of maps stay last.

    def _encode_static(self, video: Tensor) -> tuple[Tensor, ...]:
        with autocast(video.device, self.dtype):
            static = encode_static(self.model, video, self.config)
        return tuple(part.flatten(0, 1) for part in static.parts)

    def _roll_out(self, video: Tensor, end: Tensor) -> Tensor:
        with autocast(video.device, self.dtype):
            return roll_out(self.model, video, end, self.config).flatten(0, 1)

    def _finish(self, static: tuple[Tensor, ...], codes: Tensor, video: Tensor, end: Tensor) -> Losses:
        code, *skips = (part.unflatten(0, (-1, len(video))) for part in static)
        with autocast(video.device, self.dtype):
            outputs = decode(self.model, Static(code, tuple(skips)), codes.unflatten(0, (-1, len(video))))
        return losses(outputs, video, end, self.model.config, self.config, self.cells)
