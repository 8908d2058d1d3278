"""A disk that fills up while a test writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def room_for(left: int) -> Iterator[None]:
    """Within, ``os.write`` takes so many bytes in all, the last of them in part, and then refuses."""
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= (written := real(descriptor, data[:left]))
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", write)
        yield
