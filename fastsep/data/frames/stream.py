"""Windows of frames that do not fit memory: read while a model trains, in long runs, into a buffer of bounded size.

Letters: W windows, B batch, L frames of a window, C channels; ``*space`` the other axes of a frame as measured,
``*shape`` a frame as the model sees it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fastsep.data.disk_space import readable
from fastsep.data.frames.blocks import Blocks, find_runs
from fastsep.data.frames.kept import Kept
from fastsep.data.frames.read_ahead import ReadAhead
from fastsep.data.frames.source import Source
from fastsep.data.residency import require_memory
from fastsep.data.scaling import Scaling
from fastsep.data.windows import Windows
from fastsep.errors import UserError

BUFFER_BYTES = 1 << 30
"""Of the buffer, where nothing else is said; on top of it come a few pieces that are on their way."""
_PIECE_BYTES = 8 << 20  # read at once; what an array of the file's own type takes while it becomes float32
_reading = threading.Lock()  # one file at a time: training reads ahead while a checkpoint looks at test windows


def _reset_lock() -> None:
    global _reading
    _reading = threading.Lock()


os.register_at_fork(after_in_child=_reset_lock)  # nobody there would open it


class StreamedWindows(Windows):
    """Windows of a ``Source``, equal to those of the same frames in memory.

    ``order`` and ``expect`` make training read every frame about once an epoch; windows that were not announced are
    read when they are asked for. A process that trains beside others may be told its own share of ``order`` alone, and
    then reads little of what is in the others' rows.

    Args:
        starts: (W, 2) int64, the sequence and the first frame of each window, counted in kept frames.
        length: frames of a window.
        every: keep one frame in so many.
        device: where ``batch`` returns windows, and where the buffer lies.
        fill: how values are filled that are missing now and then; "none" alone can be done while reading.
        buffer_bytes: size of the buffer. The order of an epoch depends on it, and not on what memory is free.

    Raises:
        UserError: ``fill`` asks for what needs all frames.
    """

    resident = False
    streamed = True

    def __init__(
        self,
        source: Source,
        scaling: Scaling,
        starts: Tensor,
        length: int,
        every: int = 1,
        device: torch.device | None = None,
        fill: str = "none",
        buffer_bytes: int = BUFFER_BYTES,
    ):
        if fill != "none":
            raise UserError(
                f"{_name(source)} does not fit memory and is read while the model trains, which cannot fill missing "
                f"values: fill them in the file, or take a machine with more memory for --fill {fill}"
            )
        self.length = length
        self.shape = scaling.shape
        self.device = device or torch.device("cpu")
        self.scaling = scaling
        mask = scaling.mask
        self.mask = None if mask is None else torch.from_numpy(mask).to(self.device)
        self.description = source.description
        self._frames = _Frames(Kept(source, every), scaling)
        self._starts = starts.numpy()
        self._frame_bytes = 4 * int(np.prod(self.shape))
        self._buffer_bytes = buffer_bytes
        self._ahead: ReadAhead | None = None

    def __len__(self) -> int:
        return len(self._starts)

    def order(self, generator: torch.Generator, batch: int = 1) -> Tensor:
        return self._blocks.order(generator, batch)

    def expect(self, index: Tensor) -> None:
        if self._ahead is None:
            size = self._blocks.slots * self._blocks.rows * self._frame_bytes
            what = f"the buffer that {_name(self._frames.kept.source)} is read into"
            require_memory(size, what, "free some, or start a new run with a lower --buffer", self.device)
            self._ahead = ReadAhead(self._blocks, self._load, self.shape, self.length, self.device)
            weakref.finalize(self, self._ahead.close)  # at the end of the process, too
        self._ahead.expect(index.numpy())

    def batch(self, index: Tensor) -> Tensor:
        windows = index.cpu().numpy()
        ready = self._ahead.take(windows) if self._ahead else None
        return self._read(windows) if ready is None else ready  # (B, L, *shape)

    def require_buffer(self) -> None:
        """Raise UserError if the buffer is too small for ``order`` and ``expect``; single batches do without."""
        _ = self._blocks  # which are made now

    @cached_property
    def _blocks(self) -> Blocks:
        kept = self._frames.kept
        chunk = kept.source.chunk[0], -(-kept.source.chunk[1] // kept.every)
        try:
            return Blocks(self._starts, self.length, chunk, self._frame_bytes, self._buffer_bytes)
        except ValueError:
            raise UserError(
                f"windows of {readable(self.length * self._frame_bytes)} do not mix in a buffer of "
                f"{readable(self._buffer_bytes)}: raise --buffer, or lower --nt-pred"
            ) from None

    @property
    def _load(self) -> Callable[[int, np.ndarray], None]:
        """What loads a block; without a reference to ``self``, which its thread would keep alive."""
        blocks, frames = self._blocks, self._frames

        def load(block: int, out: np.ndarray) -> None:
            frames.read(*blocks.runs(block), out)

        return load

    def _read(self, windows: np.ndarray) -> Tensor:
        """Windows (B,) in any order, straight from the file."""
        sequence, first = self._starts[windows].T
        sorts = np.lexsort((first, sequence))
        runs = find_runs(sequence[sorts], first[sorts], self.length)
        rows = np.empty_like(sorts)
        rows[sorts] = runs.row
        frames = torch.zeros(int(runs.count.sum()), *self.shape)
        self._frames.read(runs.sequence, runs.first, runs.count, frames.numpy())
        rows = torch.from_numpy(rows)[:, None] + torch.arange(self.length)
        return frames.to(self.device).index_select(0, rows.flatten().to(self.device)).unflatten(0, rows.shape)


class _Frames:
    """Frames as the model sees them, read in pieces."""

    def __init__(self, kept: Kept, scaling: Scaling):
        self.kept, self._scaling = kept, scaling
        chunk = kept.source.chunk[1]
        frame_bytes = 4 * int(np.prod(kept.shape)) * min(kept.every, max(chunk, 1))  # those between may come along
        self._piece = max(_PIECE_BYTES // frame_bytes, chunk // kept.every, 1)

    def read(self, sequence: Sequence[int], first: Sequence[int], count: Sequence[int], out: np.ndarray) -> None:
        """Runs of ``count`` kept frames from ``first`` on, one after the other, to the first rows of ``out``.

        Its padding is left as it is.

        Raises:
            UserError: the file cannot be read any more, or holds values that it did not hold before.
        """
        row = 0
        for s, f, n in zip(sequence, first, count, strict=True):
            for done in range(0, int(n), self._piece):
                few = min(self._piece, int(n) - done)
                with _reading:
                    frames = self.kept.read(int(s), int(f) + done, few)
                part = out[row : row + few]
                self._scaling.scale_into(frames, part)
                if not np.isfinite(part).all():
                    raise UserError(
                        f"{_name(self.kept.source)} has a missing value in sequence {s}, frame "
                        f"{(int(f) + done) * self.kept.every} or after, which it had not before: it changed while it "
                        "was read; make it anew"
                    )
                row += few


def _name(source: Source) -> str:
    return str(source.files[0]) if source.files else "the data"
