"""Signals that ask a command to stop: SIGINT (Ctrl-C), SIGTERM (``kill``, batch systems) and SIGHUP (a lost terminal).

Batch systems announce the end of a job by SIGUSR1, SIGUSR2 or SIGXCPU, too, which would end a process that does not
heed them. Commands do; a program that calls this library may have uses of its own for them.

The first one raises ``Stopped`` where the program stands, so that files half written are removed on the way out.
Within ``held`` it only sets a flag: training looks at it after each step and writes a checkpoint first. Another signal
within a second is the same request, such as a terminal and a batch system that both pass it on. A later one stops at
once, and one after that ends the process where it stands; no file under its final name is ever half written.

Python may call the handler in a finalizer, a weak reference's callback or a function that C calls, where the
interpreter prints the exception and drops it; a library may catch everything. Such a request is neither lost nor
printed: the handler knows when its exception has died before the block ended, and raises it anew a moment later.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from fastsep.errors import ToldElsewhere, causes

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
OF_JOBS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGXCPU") if hasattr(signal, name))
_SAME_REQUEST = 1.0  # seconds
_MOMENT = 0.01  # seconds, in which a finalizer has most likely ended


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

    def __init__(self, signums: tuple[signal.Signals, ...]) -> None:
        self.request = Request()
        self._signums = signums
        self.holds = 1
        """Blocks that hold back what comes; one is the handler's own, while it is put in place or taken away."""
        self._process = os.getpid()
        self._last = 0.0
        self._insisted = False
        self._raised: weakref.ref[Stopped] | None = None
        self._again = False
        self._installing = threading.Lock()
        self._before: dict[int, Any] = {}
        self._hook_before: Callable[[Any], Any] = sys.unraisablehook

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker that a library forked has nothing to save
            os._exit(128 + signum)
        now = time.monotonic()
        if not self.request:
            self.request.signum = signum
            self._last = now
            if self.holds == 0:
                raise self._stopped()
        elif self._again:
            self._again = False
            self._last = now
            under_way = self._raised is not None and self._raised() is not None
            if not under_way and (self.holds == 0 or self._insisted):
                raise self._stopped()
        elif now - self._last >= _SAME_REQUEST and signum != signal.SIGXCPU:  # which comes again every second
            if self._insisted:  # it was asked to stop at once, and still does not
                os._exit(128 + signum)
            self._insisted = True
            self._last = now
            raise self._stopped()

    def raise_pending(self) -> None:
        """Raise ``Stopped`` if a signal came and no block holds it."""
        if self.request and self.holds == 0:
            raise self._stopped()

    def install(self) -> None:
        """Heed the signals from now on."""
        sys.unraisablehook = self._ignored
        for signum in self._signums:
            before = signal.getsignal(signum)
            if before != signal.SIG_IGN:
                self._before[signum] = before
                signal.signal(signum, self)

    def remove(self) -> None:
        """Leave the signals to whoever had them before."""
        with self._installing:
            for signum, handler in self._before.items():
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)
            self._before = {}
        if sys.unraisablehook == self._ignored:  # a library may have put its own in front
            sys.unraisablehook = self._hook_before

    def _stopped(self) -> Stopped:
        stopped = Stopped(self.request.signum)
        self._raised = weakref.ref(stopped, self._notice)
        return stopped

    def _notice(self, _: weakref.ref[Stopped]) -> None:
        """The exception has died. Where that was too early, somebody swallowed it."""
        if self._before:
            with suppress(RuntimeError):  # no thread can be had; the end of the block will notice
                _thread.start_new_thread(self._send_again, ())  # unlike threading's, takes no locks

    def _send_again(self) -> None:
        time.sleep(_MOMENT)
        with self._installing:
            if self._before:
                self._again = True
                signal.pthread_kill(threading.main_thread().ident, self.request.signum)

    def _ignored(self, unraisable: Any) -> None:
        """Takes the place of ``sys.unraisablehook``, which prints what the interpreter has dropped."""
        if not issubclass(unraisable.exc_type, Stopped):
            self._hook_before(unraisable)


_handler: _Handler | None = None


def is_heeded(signum: signal.Signals) -> bool:
    """Whether a block of ``heeded`` has taken it."""
    return _handler is not None and signal.getsignal(signum) is _handler


@contextmanager
def heeded(of_jobs: bool = False) -> Iterator[None]:
    """Heed the signals within this block, those that the process inherited as ignored (``nohup``) excepted.

    Nested blocks share the outermost one's handler. Outside the main thread, where Python handles no signals, it does
    nothing.

    Args:
        of_jobs: also those of batch systems, for a process that is all ours.
    """
    global _handler
    if _handler is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    _handler = handler = _Handler((*SIGNALS, *OF_JOBS) if of_jobs else SIGNALS)
    try:
        handler.install()
        handler.holds -= 1
        handler.raise_pending()
        yield
    except Exception as error:
        if isinstance(error, ToldElsewhere) or not _comes_of_stopping(error):
            raise
        raise Stopped(handler.request.signum) from error
    finally:
        handler.holds += 1
        handler.remove()
        _handler = None
    if handler.request:  # it came just now, or was swallowed and the rest took less than a moment
        raise Stopped(handler.request.signum)


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


def _comes_of_stopping(error: BaseException | None) -> bool:
    """Whether a library made another error of ``Stopped``."""
    return any(isinstance(each, Stopped) for each in causes(error))
