"""Standard output and error that may go away: what is printed is news, never worth a night of training."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF)  # no reader, no terminal, no such file


class _Lenient:
    """A text stream that drops what it cannot write, and falls silent when its reader has gone."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self.write(text.encode(encoding, "replace").decode(encoding))
        except OSError as error:
            self._fail(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def finish(self) -> None:
        """Write what is buffered, or drop it, so that Python does not fail at it while the process ends."""
        try:
            self._stream.flush()
        except OSError:
            self._silence()

    def _fail(self, error: OSError) -> None:
        if error.errno in _GONE:  # a full disk may have room again later
            self._silence()

    def _silence(self) -> None:
        """What is buffered, and what libraries write by the stream's number, goes nowhere from now on."""
        with suppress(OSError, ValueError):  # a stream of a test or of a notebook has no number
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lenient_output() -> Iterator[None]:
    """Within this block a closed pipe, a lost terminal or a full disk behind stdout or stderr raises nothing."""
    _fill_standard_numbers()
    before = sys.stdout, sys.stderr
    lenient = tuple(_Lenient(stream) for stream in before)
    sys.stdout, sys.stderr = lenient
    try:
        yield
    finally:
        for stream in lenient:
            stream.finish()
        sys.stdout, sys.stderr = before


def _fill_standard_numbers() -> None:
    """A process that was started with stdout or stderr closed would write its news into the next file it opens."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number, this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115 - as long as the process
