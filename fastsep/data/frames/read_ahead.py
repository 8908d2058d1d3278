"""Blocks of frames in a buffer of bounded size, and a thread that reads those that are needed next.

Letters: S slots of the buffer, K blocks, B batch, L frames of a window; ``*shape`` one frame.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from fastsep.data.frames.blocks import Blocks

_PATIENCE = 10.0  # seconds for a read to end when nobody wants it any more
_NEVER = np.iinfo(np.int64).max
_EMPTY = -1


class ReadAhead:
    """Windows in the order in which they were announced.

    All that the thread and its callers share is guarded by one condition, ``_changed``. The thread alone fills slots;
    it takes one only where no announced window that comes earlier than the block's own needs what is in it.

    Args:
        load: writes the frames of a block to the first rows of an array (rows, *shape) float32.
        length: frames of a window.
        device: where the buffer lies.
    """

    def __init__(
        self,
        blocks: Blocks,
        load: Callable[[int, np.ndarray], None],
        shape: tuple[int, ...],
        length: int,
        device: torch.device,
    ):
        self._blocks, self._load = blocks, load
        self._steps = torch.arange(length)
        self._buffer = torch.zeros((blocks.slots * blocks.rows, *shape), device=device)
        self._upload = _Upload(blocks.rows, shape, device) if device.type == "cuda" else None
        self._changed = threading.Condition()
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._error: BaseException | None = None
        self._held = np.full(blocks.slots, _EMPTY)  # (S,), the block in each slot
        self._slot = np.full(len(blocks), _EMPTY)  # (K,), where a block is to be found
        self._set_plan(np.zeros(0, np.int64))

    def expect(self, index: np.ndarray) -> None:
        """Read for windows (n,) from now on, in their order; what was announced before is forgotten."""
        if os.getpid() != self._process:  # a fork has no thread, and perhaps a lock that nobody will open
            return
        with self._changed:
            self._set_plan(index)
            self._error = None
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="fastsep read ahead", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def take(self, index: np.ndarray) -> Tensor | None:
        """Windows (B,) as (B, L, *shape) if they are the ones expected next, else None.

        Raises:
            Exception: what reading them raised.
        """
        if os.getpid() != self._process or not np.array_equal(index, self._expected[self._at :][: len(index)]):
            return None
        out = self._buffer.new_empty((len(index), len(self._steps), *self._buffer.shape[1:]))
        done = 0
        while done < len(index):
            rows = self._wait_for(index[done:])
            end = done + len(rows)
            self._gather(rows, out[done:end])
            with self._changed:
                if self._upload:
                    self._upload.note_use()
                self._at += len(rows)
                self._changed.notify_all()
            done = end
        return out

    def close(self) -> None:
        """Let the thread end, and wait for it."""
        self._closed = True  # even if the lock cannot be had
        thread = self._thread
        if os.getpid() != self._process or thread is None or thread is threading.current_thread():
            return
        with self._changed:
            self._changed.notify_all()
        thread.join(_PATIENCE)

    def _set_plan(self, index: np.ndarray) -> None:
        """Which blocks ``index`` needs, from when to when."""
        block, at = self._blocks.block[index], np.arange(len(index))
        self._first = np.full(len(self._blocks), _NEVER)  # (K,), the position of the first window that needs it
        self._last = np.full(len(self._blocks), -1)
        self._first[block[::-1]] = at[::-1]  # of equal places the last assignment stays
        self._last[block] = at
        used = np.flatnonzero(self._last >= 0)
        moves = np.zeros(len(index) + 1, np.int64)
        np.add.at(moves, self._first[used], 1)
        np.add.at(moves, self._last[used] + 1, -1)
        if np.cumsum(moves).max() > len(self._held):  # not in an order of these blocks: nothing to be gained
            used, index = used[:0], index[:0]
            self._first[:], self._last[:] = _NEVER, -1
        self._expected, self._at = index, 0
        self._loads = iter(used[np.argsort(self._first[used])].tolist())
        self._block: int | None = None  # the next one to load

    def _wait_for(self, index: np.ndarray) -> Tensor:
        """First rows in the buffer (n,) of as many of the windows as are there, at least one."""
        block = self._blocks.block[index]
        with self._changed:
            while True:
                if self._error is not None:
                    error, self._error = self._error, None  # its traceback would keep the windows
                    raise error
                slot = self._slot[block]
                missing = np.flatnonzero(slot == _EMPTY)
                ready = missing[0] if len(missing) else len(block)
                if ready:
                    rows = slot[:ready] * self._blocks.rows + self._blocks.row[index[:ready]]
                    return torch.from_numpy(rows)
                if not self._thread.is_alive():
                    raise RuntimeError("the thread that reads data ended")
                self._changed.wait()

    def _gather(self, rows: Tensor, out: Tensor) -> None:
        """Copy the windows that start at ``rows`` (n,) of the buffer to ``out`` (n, L, *shape)."""
        rows = (rows[:, None] + self._steps).flatten()
        if self._upload:
            self._upload.wait()
            rows = rows.pin_memory().to(out.device, non_blocking=True)
        torch.index_select(self._buffer, 0, rows, out=out.flatten(0, 1))

    def _work(self) -> None:
        """What the thread does."""
        try:
            while (job := self._next_job()) is not None:
                block, slot = job
                rows = self._buffer[slot * self._blocks.rows :][: self._blocks.rows]
                if self._upload:
                    with self._upload.into(rows) as staged:
                        self._load(block, staged)
                else:
                    self._load(block, rows.numpy())
                with self._changed:
                    self._held[slot], self._slot[block] = block, slot
                    self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _next_job(self) -> tuple[int, int] | None:
        """A block to load and a slot to fill, when there are both; None when all is over."""
        with self._changed:
            while not self._closed:
                while self._block is None or self._slot[self._block] != _EMPTY:
                    self._block = next(self._loads, None)
                    if self._block is None:
                        break
                slot = None if self._block is None else self._free_slot(self._first[self._block])
                if slot is not None:
                    block, self._block = self._block, None
                    if self._held[slot] != _EMPTY:
                        self._slot[self._held[slot]] = _EMPTY
                        self._held[slot] = _EMPTY
                    return block, slot
                self._changed.wait()
            return None

    def _free_slot(self, first: int) -> int | None:
        """A slot whose block is not needed any more, or only after position ``first``; the one needed last."""
        held = self._held
        due = np.where((held == _EMPTY) | (self._last[held] < self._at), _NEVER, self._first[held])
        slot = int(np.argmax(due))
        return slot if due[slot] > first else None


class _Upload:
    """Blocks on their way to a GPU: two pinned arrays in turn, and a stream of its own beside the one that computes."""

    def __init__(self, rows: int, shape: tuple[int, ...], device: torch.device):
        self._staged = [torch.zeros((rows, *shape), pin_memory=True) for _ in range(2)]
        self._copied = [torch.cuda.Event() for _ in range(2)]
        self._used = torch.cuda.Event()
        self._stream = torch.cuda.Stream(device)
        self._turn = 0

    @contextmanager
    def into(self, rows: Tensor) -> Iterator[np.ndarray]:
        """An array to fill, which is then copied to ``rows`` of the buffer."""
        turn = self._turn = 1 - self._turn
        self._copied[turn].synchronize()
        yield self._staged[turn].numpy()
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self._used)
            rows.copy_(self._staged[turn], non_blocking=True)
            self._copied[turn].record(self._stream)

    def wait(self) -> None:
        """Let the current stream wait for the blocks that are loaded by now."""
        for copied in self._copied:
            torch.cuda.current_stream(self._stream.device).wait_event(copied)

    def note_use(self) -> None:
        """Later copies wait for what the current stream was told to read so far."""
        self._used.record(torch.cuda.current_stream(self._stream.device))
