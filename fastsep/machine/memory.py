"""How the C library hands out memory to CPU tensors."""

from __future__ import annotations

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h
_NEVER = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Let the process reuse freed tensors instead of returning them to the kernel; True where the library can.

    By default glibc maps every large tensor afresh, and the kernel zeroes its pages one fault at a time: 142,000 faults
    and a quarter of a second in each ``wave`` step. PyTorch has no caching allocator for CPUs.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
