"""Sequences computed and written side by side: the files are those that one thread would write, and threads end."""

from __future__ import annotations

import errno
import io
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fastsep import signals
from fastsep.data import residency
from fastsep.data.wave import pipeline, reader, shares
from fastsep.data.wave.files import WaveSettings, draw
from fastsep.data.wave.generate import generate
from fastsep.data.wave.shares import stream_shares
from fastsep.data.wave.writers import write_hdf5, write_pt
from fastsep.errors import UserError
from fastsep.world import World
from kernels.wave import simulate

CPU = torch.device("cpu")
SMALL = WaveSettings(size=17, frames=20, grid=16)
WRITERS = {"hdf5": write_hdf5, "pt": write_pt}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def at_work() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("format", ["hdf5", "pt"])
@pytest.mark.parametrize("way", [pipeline._on_cpu, pipeline._from_gpu])
@pytest.mark.parametrize(("count", "memory"), [(1, 1), (3, 1 << 20), (8, 50_000)])
def test_files_are_those_of_one_thread(format: str, way, count: int, memory: int, threads, tmp_path, monkeypatch):
    f0, c = draw(SMALL.size, SMALL.seed)
    expected = simulate(torch.from_numpy(c), torch.from_numpy(f0), frames=SMALL.frames, grid=SMALL.grid).numpy()
    (tmp_path / "one").mkdir()
    with WRITERS[format](tmp_path / "one", SMALL, f0, c) as writer:
        for k in range(SMALL.size):
            writer.write_at(k, expected[k : k + 1])
    threads(count)
    monkeypatch.setattr(pipeline, "BUFFERS", memory)
    monkeypatch.setattr(pipeline, "_on_cpu", way)
    generate(tmp_path / "many", SMALL, CPU, format)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_the_authors_layout_has_the_bytes_that_pytorch_writes(tmp_path: Path) -> None:
    generate(tmp_path, SMALL, CPU, "pt")
    f0, c = draw(SMALL.size, SMALL.seed)
    parts = {"frames": SMALL.frames, "grid": SMALL.grid}
    frames = simulate(torch.from_numpy(c[3:4]), torch.from_numpy(f0[3:4]), **parts)[0]
    buffer = io.BytesIO()
    torch.save({"simul": frames, "c": float(c[3]), "f0": float(f0[3])}, buffer)
    assert (tmp_path / "data" / "homogenous_wave3.pt").read_bytes() == buffer.getvalue()


@pytest.mark.parametrize("way", [pipeline._on_cpu, pipeline._from_gpu])
@pytest.mark.parametrize("format", ["hdf5", "pt"])
def test_a_disk_that_fails_midway_ends_all_threads_in_one_line(way, format: str, tmp_path: Path, monkeypatch) -> None:
    pwrite, lock, written = os.pwrite, threading.Lock(), []

    def fills_up(descriptor: int, data: memoryview, offset: int) -> int:
        with lock:
            written.append(len(data))
            if len(written) > 9:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", fills_up)
    monkeypatch.setattr(pipeline, "_on_cpu", way)
    with pytest.raises(UserError, match=r"cannot write .* \(No space left on device\): free some on the disk of"):
        generate(tmp_path, SMALL, CPU, format)
    assert not at_work()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", [pipeline._on_cpu, pipeline._from_gpu])
def test_a_signal_while_threads_write_waits_for_them_and_leaves_the_old_file(way, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "wave.h5").write_text("old")
    pwrite, writing, too_late = os.pwrite, threading.Event(), []

    def slowly(descriptor: int, data: memoryview, offset: int) -> int:
        if threading.current_thread() is not threading.main_thread():
            writing.set()
            time.sleep(0.2)
            if not os.path.exists(f"/proc/self/fd/{descriptor}"):
                too_late.append(descriptor)
        return pwrite(descriptor, data, offset)

    def ask() -> None:
        writing.wait(10)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    monkeypatch.setattr(os, "pwrite", slowly)
    monkeypatch.setattr(pipeline, "_on_cpu", way)
    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(signals.Stopped), signals.heeded():
        generate(tmp_path, SMALL, CPU)
    asking.join()
    assert not at_work() and not too_late
    assert contents(tmp_path) == {"wave.h5": b"old"}


@pytest.mark.parametrize("within", ["a file's threads", "one process of several", "data made in memory"])
def test_a_signal_ends_a_long_sequence_at_its_next_frame(within, tmp_path: Path, monkeypatch) -> None:
    settings = WaveSettings(size=1, frames=30_000)
    under_way, made = threading.Event(), []

    def watched(*arguments, out=None, **options):
        made.append(torch.full((1, settings.frames, 64, 64), torch.nan))
        under_way.set()
        return simulate(*arguments, out=made[0], **options)

    def ask() -> None:
        under_way.wait(10)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    for module in (pipeline, shares, reader):
        monkeypatch.setattr(module, "simulate", watched)
    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(signals.Stopped), signals.heeded():
        if within == "a file's threads":
            generate(tmp_path, settings, CPU)
        elif within == "one process of several":
            stream_shares(None, settings, *map(torch.from_numpy, draw(1, 0)), CPU, None, World(size=2))
        else:
            reader._Simulated(settings, CPU).read(0, 1)
    asking.join()
    within_seconds = time.monotonic() + 5
    while within != "a file's threads" and at_work() and time.monotonic() < within_seconds:
        time.sleep(0.01)  # nothing is closed that a thread writes to
    assert made[0][0, -1].isnan().all() and not at_work() and not contents(tmp_path)


@pytest.mark.parametrize("processes", [1, 2])
def test_sequences_larger_than_the_memory_are_refused(processes, tmp_path, monkeypatch) -> None:
    settings = WaveSettings(size=2, frames=20, grid=16)
    monkeypatch.setattr(residency, "host_free_bytes", lambda: int(1.5 * settings.sequence_bytes))
    if processes == 1:
        path = generate(tmp_path / "one at a time", settings, CPU)
        assert path.read_bytes() == generate(tmp_path / "again", settings, CPU).read_bytes()
        monkeypatch.setattr(residency, "host_free_bytes", lambda: settings.sequence_bytes // 2)
        with pytest.raises(UserError, match=r"a sequence of 20 frames takes .* are free: lower --grid or --frames"):
            generate(tmp_path / "none", settings, CPU)
        assert not any((tmp_path / "none").iterdir())
    else:
        with pytest.raises(UserError, match=r"2 sequences of 20 frames takes .*: lower --grid or --frames"):
            stream_shares(None, settings, *map(torch.from_numpy, draw(2, 0)), CPU, None, World(size=2))


def test_memory_is_bounded_whatever_the_number_of_threads(threads, monkeypatch) -> None:
    threads(64)
    made, empty = [], torch.empty

    def count(*shape, **options):
        made.append(np.prod(shape) * 4)
        return empty(*shape, **options)

    class Nowhere:
        written = 0

        def write_at(self, first: int, chunk: np.ndarray) -> None:
            pass

    class Bar:
        n = 0

        def update(self, count: int) -> None:
            pass

    settings = WaveSettings(size=100, frames=20, grid=16)
    monkeypatch.setattr(pipeline, "BUFFERS", 5 * settings.sequence_bytes)
    monkeypatch.setattr(torch, "empty", count)
    f0, c = (torch.from_numpy(x) for x in draw(100, 0))
    pipeline.stream(Nowhere(), settings, f0, c, CPU, Bar())
    assert 2 * settings.sequence_bytes <= sum(made) <= pipeline.BUFFERS
