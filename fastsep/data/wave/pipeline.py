"""Sequences on their way from the simulation into a file, side by side and from buffers that are used again.

On a CPU every thread computes a sequence into a buffer of its own, while that is in the caches adds up its checksum and
copies it to its place in the file, and takes the next: no thread waits for another one's part, and the disk is at work
from the first sequence on. On a GPU batches are copied into two pinned buffers in turns, from which threads write.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fastsep import signals
from fastsep.data.residency import free_bytes, require_memory
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.writers import Writer
from kernels.wave import simulate

SMALLER = "lower --grid or --frames"
BUFFERS = 256 << 20
"""Bytes of all buffers together, unless two sequences are larger."""
_WRITERS = 4  # checksums are added up side by side; a file takes bytes from one thread at a time
_BLINK = 0.1  # seconds between two looks at how far it is


def stream(writer: Writer, settings: WaveSettings, f0: Tensor, c: Tensor, device: torch.device, bar: tqdm) -> None:
    """Simulate all sequences and write them.

    Args:
        f0, c: source strengths and wave speeds, (S,) float64 on the host.

    Raises:
        OSError: one cannot be written.
        Stopped: a signal came; no thread is at work any more.
    """
    (_from_gpu if device.type == "cuda" else _on_cpu)(writer, settings, f0, c, device, bar)


def _on_cpu(writer: Writer, s: WaveSettings, f0: Tensor, c: Tensor, device: torch.device, bar: tqdm) -> None:
    # One may be waiting for the disk.
    count = max(2, min(torch.get_num_threads() + 1, BUFFERS // s.sequence_bytes))
    count = max(1, min(count, s.size, free_bytes(device) // s.sequence_bytes))
    require_memory(count * s.sequence_bytes, f"a sequence of {s.frames:,} frames", SMALLER)
    numbers = iter(range(s.size))  # shared: the interpreter gives each number to one thread
    stop = np.zeros(1, np.uint8)

    def work() -> None:
        buffer = torch.empty(1, s.frames, s.grid, s.grid)
        for k in numbers:
            simulate(c[k : k + 1], f0[k : k + 1], frames=s.frames, grid=s.grid, dt=s.dt, out=buffer, stop=stop)
            if stop[0]:
                return
            writer.write_at(k, buffer.numpy())

    with _team(count, stop) as pool:
        tasks = {pool.submit(work) for _ in range(count)}
        with signals.released():
            while tasks:
                done, tasks = wait(tasks, _BLINK, FIRST_EXCEPTION)
                for task in done:
                    task.result()
                bar.update(writer.written - bar.n)


def _from_gpu(writer: Writer, s: WaveSettings, f0: Tensor, c: Tensor, device: torch.device, bar: tqdm) -> None:
    count = min(s.size, max(1, BUFFERS // 2 // s.sequence_bytes))
    shape = (count, s.frames, s.grid, s.grid)
    require_memory(2 * count * s.sequence_bytes, f"{2 * count} sequences of {s.frames:,} frames", SMALLER)
    buffers = [torch.empty(shape, pin_memory=device.type == "cuda") for _ in range(2)]
    writing: list[list[Future]] = [[], []]
    with _team(_WRITERS) as pool:
        for step, first in enumerate(range(0, s.size, count)):
            part, turn = slice(first, first + count), step % 2
            with signals.released():
                batch = simulate(c[part], f0[part], frames=s.frames, grid=s.grid, dt=s.dt, device=device)
                _finish(writing[turn], writer, bar)
                rows = buffers[turn][: len(batch)].copy_(batch).numpy()
            writing[turn] = [pool.submit(writer.write_at, first + i, rows[i : i + 1]) for i in range(len(rows))]
        with signals.released():
            for tasks in writing:
                _finish(tasks, writer, bar)


def _finish(tasks: list[Future], writer: Writer, bar: tqdm) -> None:
    for task in tasks:
        task.result()
        bar.update(writer.written - bar.n)


@contextmanager
def _team(count: int, stop: np.ndarray | None = None) -> Iterator[ThreadPoolExecutor]:
    """Threads that have all ended when the block has, whatever ends it: nobody writes into a file that is closed.

    Signals are held within it, since one that comes while a thread starts would leave that out of the team; release
    them where it waits.
    """
    with signals.held():
        pool = ThreadPoolExecutor(count)
        try:
            yield pool
        finally:
            if stop is not None:
                stop[0] = 1
            pool.shutdown(cancel_futures=True)
