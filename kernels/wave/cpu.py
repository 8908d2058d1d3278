"""The scheme on the CPU: one sequence a thread, both sweeps of a step fused row by row.

Letters: S sequences, T frames, H rows, W columns.

The second sweep follows the first two rows behind, which is as far as its stencil reaches. So the stage displacements
live in a ring of eight rows, w and u advance in place, and a sequence touches little more than w, u and the frame it
writes: it stays in the core's own cache.
"""

from __future__ import annotations

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numba import float32, njit, uint8, void

from kernels.wave import scheme

# fused multiply-adds only: no reordering of sums, so results do not depend on the vector width
_OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy"}
_second_difference = njit(**_OPTIONS)(scheme.second_difference)
_first_stages = njit(**_OPTIONS)(scheme.first_stages)
_last_stages = njit(**_OPTIONS)(scheme.last_stages)

_SIGNATURE = void(float32, float32, float32[:, ::1], float32[:, ::1], float32[:, :, ::1], uint8[::1])
_PAD = 16  # columns of zeros left of a row (and so right of the one above): a cache line, which keeps rows aligned
_RING = 8
_ZERO = np.float32(0)
# The wave front fades through the subnormal numbers, which are slow; nothing below this is ever visible.
_TINY = np.float32(1e-25)


@njit(**_OPTIONS)
def _along_row(field, r, x):
    return _second_difference(field[r, x - 2], field[r, x - 1], field[r, x], field[r, x + 1], field[r, x + 2])


@njit(forceinline=True, **_OPTIONS)
def _first_sweep(w, u, ring, r, columns, ky, kx, disc, s1, s2):
    """Stages 1 and 2 of one row, ``r`` with the padding: from w and u (H + 4, padded W) to its slot of the ring."""
    slot = (r - 2) & (_RING - 1)
    for j in range(columns):
        x = j + _PAD
        d2w = _second_difference(w[r - 2, x], w[r - 1, x], w[r, x], w[r + 1, x], w[r + 2, x])
        d2u = _second_difference(u[r - 2, x], u[r - 1, x], u[r, x], u[r + 1, x], u[r + 2, x])
        kw = ky * d2w + kx[j] * _along_row(w, r, x)
        ku = ky * d2u + kx[j] * _along_row(u, r, x)
        w3, w4, w_part, u_part = _first_stages(w[r, x], u[r, x], kw, ku, s1 * disc[j], s2 * disc[j])
        ring[slot, 0, x] = w3
        ring[slot, 1, x] = w4
        ring[slot, 2, x] = w_part
        ring[slot, 3, x] = u_part


@njit(forceinline=True, **_OPTIONS)
def _last_sweep(w, u, ring, r, columns, ky, kx, disc, s3, s4):
    """Stages 3 and 4 of one row, ``r`` with the padding: from the ring to the new w and u.

    Above the first and below the last row the ring holds other rows; they are finite and meet ky = 0.
    """
    slot = r - 2
    above2, above, here = ring[(slot - 2) & (_RING - 1)], ring[(slot - 1) & (_RING - 1)], ring[slot & (_RING - 1)]
    below, below2 = ring[(slot + 1) & (_RING - 1)], ring[(slot + 2) & (_RING - 1)]
    for j in range(columns):
        x = j + _PAD
        d2w3 = _second_difference(above2[0, x], above[0, x], here[0, x], below[0, x], below2[0, x])
        d2w4 = _second_difference(above2[1, x], above[1, x], here[1, x], below[1, x], below2[1, x])
        kw3 = ky * d2w3 + kx[j] * _along_row(here, 0, x)
        kw4 = ky * d2w4 + kx[j] * _along_row(here, 1, x)
        w_new, u_new = _last_stages(here[2, x], here[3, x], kw3, kw4, s3 * disc[j], s4 * disc[j])
        w[r, x] = _ZERO if abs(w_new) < _TINY else w_new
        u[r, x] = _ZERO if abs(u_new) < _TINY else u_new


@njit(**_OPTIONS)
def _sequence(courant2, source, decay, disc, out, stop):
    frames, rows, columns = out.shape
    padded = (columns + _PAD - 1) // _PAD * _PAD + _PAD
    w = np.zeros((rows + 4, padded), np.float32)
    u = np.zeros((rows + 4, padded), np.float32)
    ring = np.zeros((_RING, 4, padded), np.float32)
    kx = np.full(columns, courant2, np.float32)
    kx[:2] = 0
    kx[columns - 2 :] = 0
    out[0] = 0
    for n in range(frames - 1):
        if stop[0]:
            return
        s1, s2, s3, s4 = source * decay[n, 0], source * decay[n, 1], source * decay[n, 2], source * decay[n, 3]
        for r in range(rows + 2):
            if r < rows:
                ky = courant2 if 2 <= r < rows - 2 else _ZERO
                _first_sweep(w, u, ring, r + 2, columns, ky, kx, disc[r], s1, s2)
            if r >= 2:
                behind = r - 2
                ky = courant2 if 2 <= behind < rows - 2 else _ZERO
                _last_sweep(w, u, ring, behind + 2, columns, ky, kx, disc[behind], s3, s4)
                for j in range(columns):  # a slice assignment would check shapes and count references
                    out[n + 1, behind, j] = w[behind + 2, j + _PAD]


def _define(scheme_source: str, cache: bool):
    """The kernel for one sequence. Numba's cache sees changes of this file only, so the scheme's text joins its key."""

    @njit(_SIGNATURE, nogil=True, cache=cache, **_OPTIONS)
    def simulate(courant2, source, decay, disc, out, stop):
        scheme_source  # noqa: B018
        _sequence(courant2, source, decay, disc, out, stop)

    return simulate


@cache
def _compiled():
    """The kernel, compiled once a process; kept on disk for the next one where that is possible.

    Numba keeps it beside this file or in the user's cache directory. An installation that is read only without a home
    directory, a full disk or a damaged cache cost the compilation anew, never the run.
    """
    text = inspect.getsource(scheme)
    try:
        return _define(text, cache=True)
    except Exception:  # RuntimeError: no place; OSError: no space or no right; whatever a damaged pickle raises
        return _define(text, cache=False)


_compiling = threading.Lock()  # of threads that call for the first time, one compiles


def simulate_cpu(
    courant2: np.ndarray,
    source: np.ndarray,
    decay: np.ndarray,
    disc: np.ndarray,
    out: np.ndarray,
    threads: int,
    stop: np.ndarray | None = None,
) -> None:
    """Fill ``out`` (S, T, H, W); all arrays float32 and contiguous.

    Threads take sequence after sequence, so one whose core is busy with something else holds up no other. They are
    Python's: OpenMP's would change PyTorch's number of threads, and spin.

    Args:
        courant2: (c dt)^2, (S,), in squared cells.
        source: dt^2 f0, (S,).
        decay: the source's course at the stage times of each step, (T - 1, 4).
        disc: 1 where the source acts, (H, W).
        threads: how many to use.
        stop: ends all sequences at their next frame once it is not 0, (1,) uint8. So does what ends the wait for them.
    """
    with _compiling:
        kernel = _compiled()
    threads = min(threads, len(out))
    stop = np.zeros(1, np.uint8) if stop is None else stop

    def fill(s: int) -> None:
        kernel(courant2[s], source[s], decay, disc, out[s], stop)

    # The main thread waits: it alone hears of signals, and not before what it calls has returned.
    if threads == 1 and threading.current_thread() is not threading.main_thread():
        for s in range(len(out)):
            fill(s)
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            for _ in pool.map(fill, range(len(out))):
                pass
        except BaseException:
            stop[0] = 1
            raise
