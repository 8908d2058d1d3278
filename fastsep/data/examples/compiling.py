"""Numba for the schemes of the examples."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """``function`` as machine code that runs without the interpreter's lock.

    Sums are not reordered and products not fused, so that a seed gives the same bits on every machine. The code is
    kept for the next process where that is possible.
    """
    try:
        return njit(function, nogil=True, cache=True)
    except RuntimeError:  # no place to keep it
        return njit(function, nogil=True)
