"""Calls that a damaged file can send round in circles or to a crash, made in a process of their own."""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_PATIENCE = 10.0  # seconds; what is guarded takes milliseconds


def guarded(call: Callable[[], Any], patience: float = _PATIENCE) -> Any:
    """The result of ``call``, a small value, computed by a copy of this process that ends with it.

    Raises:
        ValueError: it failed, crashed or came to no end.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Of threads that may hold locks: the copy calls nothing but what it is given, and time runs out for it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(call, writing)
    os.close(writing)
    said, status = b"", 0
    try:
        deadline = time.monotonic() + patience
        while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            more = os.read(reading, 1 << 16)
            if not more:
                break
            said += more
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not said:
        raise ValueError("reading it comes to no end" if status == -signal.SIGKILL else "reading it ends in a crash")
    worked, value = pickle.loads(said)  # from ourselves
    if not worked:
        raise ValueError(value)
    return value


def _answer(call: Callable[[], Any], writing: int) -> None:
    """Write what comes of ``call``, and end the process without any of its farewells."""
    try:
        try:
            answer = True, call()
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}"
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
    finally:
        os._exit(0)
