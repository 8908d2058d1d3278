"""The scheme on a GPU: one thread block a sequence, the time loop inside the kernel.

Letters: S sequences, T frames, R rows a thread owns.

Two kernels, chosen by the size of the grid. Up to ``CHIP_GRID`` a thread owns R cells of one column: w, u and the
partial sums stay in registers, and the two fields that a sweep differentiates lie in shared memory, with a barrier
before and after they are rewritten. Larger grids run the same two sweeps with all fields in device memory.

This is the only module that imports numba-cuda.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from kernels.wave import scheme

if importlib.util.find_spec("numba_cuda") is None:
    raise ModuleNotFoundError("waves on a GPU need numba-cuda: pip install -e '.[gpu]' in fastsep's checkout")
if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack  # numba-cuda 0.30 still asks for the name that NumPy 2.5 dropped
from numba import cuda, float32, int64, uint64

CHIP_GRID = 64
# 512 threads of 64 registers for 64 cells: two sequences share a multiprocessor, and one computes while the other waits
ROWS = 8
MAX_THREADS = 1024
SIGNATURE = (float32[::1], float32[::1], float32[:, ::1], float32[::1], float32[:, :, ::1])
SIGNATURE_DEVICE_MEMORY = (*SIGNATURE, float32[:, :, ::1], int64)

# inlined before typing: compiling a call of a device function would ask for the current device, and there may be none
_device_function = cuda.jit(device=True, inline="always")
_second_difference = _device_function(scheme.second_difference)
_first_stages = _device_function(scheme.first_stages)
_last_stages = _device_function(scheme.last_stages)


def on_chip_kernel(grid: int, rows: int) -> tuple[Callable, int]:
    """The plain function of the kernel for ``grid`` cells and ``rows`` cells a thread, and its threads a block."""
    strips = -(-grid // rows)
    threads = grid * strips
    whole = strips * rows == grid
    # two rows of zeros above and below; across the sides a neighbour reads the row above or below, where kx is zero
    size = (strips * rows + 2 * scheme.STENCIL_RADIUS) * grid
    above, below = -2 * grid, rows * grid

    def kernel(courant2, source, decay, disc, out):
        field_w = cuda.shared.array(size, float32)
        field_u = cuda.shared.array(size, float32)
        w = cuda.local.array(rows, float32)
        u = cuda.local.array(rows, float32)
        w3 = cuda.local.array(rows, float32)
        w4 = cuda.local.array(rows, float32)
        w_part = cuda.local.array(rows, float32)
        u_part = cuda.local.array(rows, float32)
        ky = cuda.local.array(rows, float32)
        on = cuda.local.array(rows, float32)
        zero = float32(0)

        sequence = uint64(cuda.blockIdx.x)
        thread = cuda.threadIdx.x
        x = thread % grid
        y = thread // grid * rows
        cell = y * grid + x
        home = cell + 2 * grid
        k = courant2[sequence]
        kx = k if x >= 2 and x < grid - 2 else zero
        for at in range(thread, size, threads):
            field_w[uint64(at)] = zero
            field_u[uint64(at)] = zero
        for i in range(rows):
            w[i] = zero
            u[i] = zero
            ky[i] = k if y + i >= 2 and y + i < grid - 2 else zero
            on[i] = zero
            if whole or y + i < grid:
                on[i] = disc[uint64(cell + i * grid)] * source[sequence]
                out[sequence, uint64(0), uint64(cell + i * grid)] = zero
        cuda.syncthreads()

        for n in range(decay.shape[0]):
            _weighted_column(field_w, w, home, above, below, grid, rows, ky, kx, w3)
            _weighted_column(field_u, u, home, above, below, grid, rows, ky, kx, w4)
            s1 = decay[uint64(n), 0]
            s2 = decay[uint64(n), 1]
            for i in range(rows):
                w3[i], w4[i], w_part[i], u_part[i] = _first_stages(w[i], u[i], w3[i], w4[i], on[i] * s1, on[i] * s2)
            cuda.syncthreads()
            for i in range(rows):
                field_w[uint64(home + i * grid)] = w3[i]
                field_u[uint64(home + i * grid)] = w4[i]
            cuda.syncthreads()

            _weighted_column(field_w, w3, home, above, below, grid, rows, ky, kx, w)
            _weighted_column(field_u, w4, home, above, below, grid, rows, ky, kx, u)
            s3 = decay[uint64(n), 2]
            s4 = decay[uint64(n), 3]
            for i in range(rows):
                w[i], u[i] = _last_stages(w_part[i], u_part[i], w[i], u[i], on[i] * s3, on[i] * s4)
                if whole or y + i < grid:
                    out[sequence, uint64(n + 1), uint64(cell + i * grid)] = w[i]
            cuda.syncthreads()
            for i in range(rows):
                field_w[uint64(home + i * grid)] = w[i]
                field_u[uint64(home + i * grid)] = u[i]
            cuda.syncthreads()

    return kernel, threads


@_device_function
def _weighted_column(field, own, home, above, below, grid, rows, ky, kx, result):
    """ky D_yy + kx D_xx at the ``rows`` cells from ``home`` downwards, whose own values the thread holds.

    Indices go in unsigned: numba would test signed ones for being negative.
    """
    a = field[uint64(home + above)]
    b = field[uint64(home + above + grid)]
    for i in range(rows):
        d = own[i + 1] if i + 1 < rows else field[uint64(home + below)]
        e = own[i + 2] if i + 2 < rows else field[uint64(home + (i + 2) * grid)]
        at = home + i * grid
        across = _second_difference(
            field[uint64(at - 2)], field[uint64(at - 1)], own[i], field[uint64(at + 1)], field[uint64(at + 2)]
        )
        result[i] = ky[i] * _second_difference(a, b, own[i], d, e) + kx * across
        a = b
        b = own[i]


def device_memory_kernel(courant2, source, decay, disc, out, fields, grid):
    """Any ``grid`` and any number of threads.

    ``fields`` (S, 6, (grid + 4) * grid), zeroed, holds w, u, w3, w4 and the two partial sums.
    """
    sequence = cuda.blockIdx.x
    thread = cuda.threadIdx.x
    threads = cuda.blockDim.x
    cells = grid * grid
    w = fields[sequence, 0]
    u = fields[sequence, 1]
    w3 = fields[sequence, 2]
    w4 = fields[sequence, 3]
    w_part = fields[sequence, 4]
    u_part = fields[sequence, 5]
    zero = float32(0)
    k = courant2[sequence]
    for cell in range(thread, cells, threads):
        out[sequence, 0, cell] = zero
    for n in range(decay.shape[0]):
        for cell in range(thread, cells, threads):
            on = disc[cell] * source[sequence]
            at = cell + 2 * grid
            kw = _weighted(w, cell, grid, k)
            ku = _weighted(u, cell, grid, k)
            w3[at], w4[at], w_part[at], u_part[at] = _first_stages(
                w[at], u[at], kw, ku, on * decay[n, 0], on * decay[n, 1]
            )
        cuda.syncthreads()
        for cell in range(thread, cells, threads):
            on = disc[cell] * source[sequence]
            at = cell + 2 * grid
            k3 = _weighted(w3, cell, grid, k)
            k4 = _weighted(w4, cell, grid, k)
            w[at], u[at] = _last_stages(w_part[at], u_part[at], k3, k4, on * decay[n, 2], on * decay[n, 3])
            out[sequence, n + 1, cell] = w[at]
        cuda.syncthreads()


@_device_function
def _weighted(field, cell, grid, k):
    """k (D_yy + D_xx) at ``cell`` of a field with two rows of zeros above and below."""
    y = cell // grid
    x = cell % grid
    at = cell + 2 * grid
    result = float32(0)
    if y >= 2 and y < grid - 2:
        result += k * _second_difference(
            field[at - 2 * grid], field[at - grid], field[at], field[at + grid], field[at + 2 * grid]
        )
    if x >= 2 and x < grid - 2:
        result += k * _second_difference(field[at - 2], field[at - 1], field[at], field[at + 1], field[at + 2])
    return result


@cache
def _compiled(grid: int, on_chip: bool) -> tuple[Callable, int]:
    if not on_chip:
        return cuda.jit(launch_bounds=MAX_THREADS)(device_memory_kernel), min(MAX_THREADS, grid * grid)
    kernel, threads = on_chip_kernel(grid, ROWS)
    return cuda.jit(launch_bounds=threads)(kernel), threads


def simulate_cuda(courant2: Tensor, source: Tensor, decay: Tensor, disc: Tensor, out: Tensor) -> None:
    """Fill ``out`` (S, T, H, W) on torch's current stream; tensors as in ``simulate_cpu``, on one device."""
    sequences, _, grid, _ = out.shape
    on_chip = grid <= CHIP_GRID
    kernel, threads = _compiled(grid, on_chip)
    arguments = [courant2, source, decay, disc.flatten(), out.flatten(2)]
    if not on_chip:
        arguments += [out.new_zeros(sequences, 6, (grid + 4) * grid), grid]
    with cuda.gpus[out.device.index or 0]:
        stream = cuda.external_stream(torch.cuda.current_stream(out.device).cuda_stream)
        kernel[sequences, threads, stream](*arguments)
