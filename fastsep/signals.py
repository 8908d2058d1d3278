"""Signals that ask a command to stop: SIGINT (Ctrl-C), SIGTERM (batch systems, ``kill``) and SIGHUP (a lost terminal).

The first one raises ``Stopped`` where the program stands, so that files half written are removed on the way out.
Within ``held`` it only sets a flag: training looks at it after each step and writes a checkpoint first. Another signal
within a second is the same request, such as a terminal and a batch system that both pass it on. A later one stops at
once, and one after that ends the process where it stands; no file under its final name is ever half written.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SAME_REQUEST = 1.0  # seconds


class Stopped(KeyboardInterrupt):
    """A signal asked to stop. ``note`` says what was kept and how to go on."""

    def __init__(self, signum: int, note: str = "no file is half written"):
        super().__init__(f"stopped by {signal.Signals(signum).name}: {note}")
        self.signum = signum

    @property
    def status(self) -> int:
        """128 + the signal's number, as shells count: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signum


@dataclass
class Request:
    """What ``held`` hands out."""

    signum: int = 0
    """The signal that asked to stop; 0 while none has."""

    def __bool__(self) -> bool:
        return self.signum != 0


class _Handler:
    """Counts requests and decides what each one does."""

    def __init__(self) -> None:
        self.request = Request()
        self.holds = 0
        self._process = os.getpid()
        self._last = 0.0
        self._insisted = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker that a library forked has nothing to save
            os._exit(128 + signum)
        now = time.monotonic()
        if not self.request:
            self.request.signum = signum
            self._last = now
            if self.holds == 0:
                raise Stopped(signum)
        elif now - self._last >= _SAME_REQUEST:
            if self._insisted:  # it was asked to stop at once, and still does not
                os._exit(128 + signum)
            self._insisted = True
            self._last = now
            raise Stopped(signum)

    def raise_pending(self) -> None:
        """Raise ``Stopped`` if a signal came and no block holds it."""
        if self.request and self.holds == 0:
            raise Stopped(self.request.signum)


_handler: _Handler | None = None


@contextmanager
def heeded() -> Iterator[None]:
    """Heed the signals within this block, those that the process inherited as ignored (``nohup``) excepted.

    Nested blocks share the outermost one's handler. Outside the main thread, where Python handles no signals, it does
    nothing.
    """
    global _handler
    if _handler is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    _handler = _Handler()
    before = {}
    try:
        for signum in SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:
                before[signum] = signal.signal(signum, _handler)
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        _handler = None


@contextmanager
def held() -> Iterator[Request]:
    """Let the block decide when to stop: its request turns true when a signal comes, and nothing is raised before.

    A block that ends by itself, without having looked, raises ``Stopped`` then. Blocks of moves that belong together
    are held too, so that either all or none happen.
    """
    with heeded():
        handler = _active()
        if handler is None:
            yield Request()
            return
        handler.holds += 1
        try:
            yield handler.request
        finally:
            handler.holds -= 1
        handler.raise_pending()


@contextmanager
def released() -> Iterator[None]:
    """Within a held block: a part that a signal may end after all, such as the body between opening a file and closing
    it. It stays held where a block further out holds it."""
    handler = _active()
    if handler is None or handler.holds == 0:
        yield
        return
    handler.holds -= 1
    try:
        handler.raise_pending()
        yield
    finally:
        handler.holds += 1


def _active() -> _Handler | None:
    """The handler, for the one thread that signals come to."""
    return _handler if threading.current_thread() is threading.main_thread() else None
