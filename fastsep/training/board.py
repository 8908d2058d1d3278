"""TensorBoard's event file, written record by record: each is there whole or not at all, and none ends a training.

PyTorch's own writer does it in a thread that dies of a full disk, with a traceback and all that it had in hand.
Format: TFRecord (length, its checksum, ``Event`` message, its checksum).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from fastsep.errors import warn
from fastsep.files import make_directory, write_all

_VERSION = "brain.Event:2"


class Board:
    """Scalars and images of a run. What cannot be written is left out, with one warning.

    Args:
        folder: where the event file goes; others in it stay.
        first_step: steps done before; TensorBoard drops what earlier files say of later steps.
    """

    def __init__(self, folder: Path, first_step: int):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from torch.utils.tensorboard import summary  # slow to import, and only training needs it

        self._event, self._summary = Event, summary
        self._folder = folder
        self._file: int | None = None
        self._size = 0
        self._warned = False
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        try:
            make_directory(folder)
            self._file = os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except OSError as error:
            self._warn(error)
        self._write(lambda: Event(file_version=_VERSION))
        start = SessionLog(status=SessionLog.START)
        self._write(lambda: Event(step=first_step + 1, session_log=start))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        self._write(lambda: self._event(step=step, summary=self._summary.scalar(name, value)))

    def image(self, name: str, picture: Tensor, step: int) -> None:
        """Add a picture (3, height, width), 0 to 1."""
        self._write(lambda: self._event(step=step, summary=self._summary.image(name, picture, dataformats="CHW")))

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
        self._file = None

    def _write(self, make: Callable[[], Any]) -> None:
        """Append an event, or take back what of it was written."""
        if self._file is None:
            return
        from tensorboard.summary.writer.record_writer import RecordWriter

        event = make()
        event.wall_time = time.time()
        record = _Record()
        RecordWriter(record).write(event.SerializeToString())
        try:
            write_all(self._file, record.data)
            self._size += len(record.data)
        except OSError as error:
            self._warn(error)
            try:
                os.ftruncate(self._file, self._size)
                os.lseek(self._file, self._size, os.SEEK_SET)
            except OSError:  # the file would be unreadable from here on
                self.close()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            warn(f"cannot write {self._folder} ({error.strerror}): TensorBoard will lack what does not fit")
        self._warned = True


class _Record:
    """What a ``RecordWriter`` writes to."""

    data = b""

    def write(self, data: bytes) -> None:
        self.data += data
