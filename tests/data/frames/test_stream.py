"""Streamed windows: bit for bit those of the same frames in memory, each frame read about once, nothing hangs."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fastsep.data.frames.source import Source
from fastsep.data.frames.stream import StreamedWindows
from fastsep.data.scaling import Scaling
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.errors import UserError

LENGTH, BATCH = 5, 16
SCALING = Scaling(
    (6, 5), np.array([0.3, -1], np.float32), np.array([1.7, 0.01], np.float32),
    np.random.default_rng(1).random((6, 5)) > 0.2, (2, 3),
)  # fmt: skip
FRAME_BYTES = 4 * 2 * 8 * 8


class Array(Source):
    """Frames in memory that count how often they are read."""

    def __init__(self, frames: np.ndarray, chunk=(1, 1)):
        self.array = frames
        self.sequences, self.frames = frames.shape[:2]
        self.shape = frames.shape[2:]
        self.chunk = chunk
        self.files = (Path("frames.h5"),)
        self.reads = Counter()
        self.delay = 0.0

    def read(self, sequence, first, count):
        assert first >= 0 and count > 0 and first + count <= self.frames
        time.sleep(self.delay)
        self.reads.update((sequence, frame) for frame in range(first, first + count))
        return self.array[sequence, first : first + count].copy()


def source_of(sequences, frames, chunk=(1, 1)):
    values = np.random.default_rng(0).normal(size=(sequences, frames, 2, 6, 5)).astype(np.float32)
    values[..., ~SCALING.present] = np.nan
    return Array(values, chunk)


def windows_of(source, every=1, buffer=300, starts=None, device="cpu"):
    """Streamed windows with a buffer of some frames, and the same in memory."""
    kept = torch.from_numpy(SCALING.scale(source.array[:, ::every]))
    starts = all_starts(*kept.shape[:2], LENGTH) if starts is None else starts
    device = torch.device(device)
    streamed = StreamedWindows(source, SCALING, starts, LENGTH, every, device, buffer_bytes=buffer * FRAME_BYTES)
    return streamed, TensorWindows(kept.to(device), starts, LENGTH)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "fastsep read ahead"]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    gc.collect()
    assert not threads()


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1500), (120, 18), (3, 300)], ids=["record", "short", "long"])
def test_batches_are_those_of_frames_in_memory(shape, every):
    source = source_of(*shape)
    streamed, resident = windows_of(source, every)
    assert len(streamed) == len(resident) and streamed.shape == resident.shape == (2, 8, 8)
    assert torch.equal(streamed.mask, torch.from_numpy(SCALING.mask)) and not streamed.resident
    for epoch in range(2):
        order = streamed.order(torch.Generator().manual_seed(epoch))
        streamed.expect(order)
        source.reads.clear()
        for index in order.split(BATCH):
            assert torch.equal(streamed.batch(index), resident.batch(index))
        assert sum(source.reads.values()) < 1.35 * shape[0] * shape[1]


@pytest.mark.gpu
def test_a_gpu_gets_the_same_batches_while_it_is_busy():
    streamed, resident = windows_of(source_of(1, 1500), device="cuda")
    work = torch.rand(4096, 4096, device="cuda")
    for epoch in range(3):
        streamed.expect(order := streamed.order(torch.Generator().manual_seed(epoch)))
        batches = []
        for index in order.split(BATCH):
            work = work @ work * 1e-4  # gathers wait behind it, and blocks must not be overwritten before
            batches.append(streamed.batch(index))
        for index, batch in zip(order.split(BATCH), batches, strict=True):
            assert torch.equal(batch, resident.batch(index))


def test_windows_that_nobody_announced_are_read_when_asked_for():
    streamed, resident = windows_of(source_of(4, 60), starts=all_starts(4, 60, LENGTH)[torch.randperm(224)])
    for index in (torch.arange(40), torch.tensor([7, 7, 200, 3]), torch.tensor([5])):
        assert torch.equal(streamed.batch(index), resident.batch(index))
    streamed.expect(order := streamed.order(torch.Generator().manual_seed(1)))
    assert torch.equal(streamed.batch(order[:9]), resident.batch(order[:9]))
    other = torch.arange(10)  # as a look at other windows in between
    assert torch.equal(streamed.batch(other), resident.batch(other))
    assert torch.equal(streamed.batch(order[9:20]), resident.batch(order[9:20]))


def test_an_order_that_suits_no_buffer_is_read_all_the_same():
    streamed, resident = windows_of(source_of(1, 3000))
    order = torch.randperm(len(streamed))
    streamed.expect(order)
    for index in order[:64].split(BATCH):
        assert torch.equal(streamed.batch(index), resident.batch(index))


def test_each_of_several_processes_reads_its_own_blocks():
    source = source_of(1, 6000)
    streamed, resident = windows_of(source, buffer=900)
    order = streamed.order(torch.Generator().manual_seed(1), BATCH)
    mine = order[: len(order) // BATCH * BATCH].view(-1, 2, BATCH // 2)[:, 1].flatten()
    streamed.expect(mine)
    source.reads.clear()
    for index in mine.split(BATCH // 2):
        assert torch.equal(streamed.batch(index), resident.batch(index))
    assert sum(source.reads.values()) < 0.6 * 6000


def test_a_process_may_expect_its_own_share_and_begin_within_an_epoch():
    source = source_of(1, 1500)
    streamed, resident = windows_of(source)
    order = streamed.order(torch.Generator().manual_seed(1))
    mine = torch.cat([rows[1::2] for rows in order.split(BATCH)])
    for rows in (mine, order[700:]):  # the second while the first is still being read
        streamed.expect(rows)
        for index in rows[:400].split(BATCH // 2):
            assert torch.equal(streamed.batch(index), resident.batch(index))


def test_data_that_fit_the_buffer_are_read_once():
    source = source_of(10, 20)
    streamed, _ = windows_of(source, buffer=500)
    for epoch in range(3):
        streamed.expect(order := streamed.order(torch.Generator().manual_seed(epoch)))
        for index in order.split(BATCH):
            streamed.batch(index)
    assert set(source.reads.values()) == {1}


def test_reading_goes_on_while_the_batches_are_used():
    source = source_of(1, 3000)
    streamed, _ = windows_of(source)
    streamed.expect(order := streamed.order(torch.Generator().manual_seed(1)))
    streamed.batch(order[:BATCH])
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and sum(source.reads.values()) <= 0.8 * 300:
        time.sleep(0.01)
    time.sleep(0.2)
    assert 0.8 * 300 < sum(source.reads.values()) <= 300 + 2 * LENGTH  # the buffer is full, and no more is read


@pytest.mark.parametrize("kind", [UserError, MemoryError])
def test_what_reading_raises_comes_to_the_caller(kind):
    source = source_of(1, 1500)
    streamed, resident = windows_of(source)
    streamed.expect(order := streamed.order(torch.Generator().manual_seed(1)))
    streamed.batch(order[:BATCH])

    def fail(*_):
        raise kind("frames.h5 went away")

    source.read, reads = fail, source.read
    with pytest.raises(kind, match="went away"):
        for index in order[BATCH:].split(BATCH):
            streamed.batch(index)
    source.read = reads
    streamed.expect(order)  # as good as new
    assert torch.equal(streamed.batch(order[:BATCH]), resident.batch(order[:BATCH]))


def test_a_value_that_went_missing_is_refused():
    source = source_of(1, 500)
    streamed, _ = windows_of(source)
    source.array[0, 321, 1][SCALING.present] = np.inf
    with pytest.raises(UserError, match=r"frames.h5 has a missing value in sequence 0"):
        streamed.batch(torch.arange(len(streamed)))


def test_what_cannot_be_streamed_is_refused_in_one_line():
    with pytest.raises(UserError, match="--fill linear") as refused:
        StreamedWindows(source_of(1, 50), SCALING, all_starts(1, 50, LENGTH), LENGTH, fill="linear")
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="raise --buffer"):
        windows_of(source_of(1, 50), buffer=6 * LENGTH)[0].require_buffer()
    streamed, resident = windows_of(source_of(1, 50), buffer=LENGTH)
    assert torch.equal(streamed.batch(torch.arange(9)), resident.batch(torch.arange(9)))  # no order, no buffer


def test_the_buffer_has_to_fit_memory(monkeypatch):
    from fastsep.data import residency

    streamed, _ = windows_of(source_of(1, 500))
    monkeypatch.setattr(residency, "free_bytes", lambda device: 10_000)
    with pytest.raises(UserError, match="buffer"):
        streamed.expect(torch.arange(10))


def test_the_thread_ends_with_the_windows_even_while_it_reads():
    source = source_of(1, 3000)
    streamed, _ = windows_of(source)
    source.delay = 0.05
    streamed.expect(streamed.order(torch.Generator().manual_seed(1)))
    (thread,) = threads()
    del streamed
    gc.collect()
    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_reads_by_itself():
    streamed, resident = windows_of(source_of(1, 1500))
    streamed.expect(order := streamed.order(torch.Generator().manual_seed(1)))
    expected = resident.batch(order[:3]).numpy()
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        same = np.array_equal(streamed.batch(order[:3]).numpy(), expected)
        streamed.expect(order)
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 20
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    if done == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done[1] == 0


ENDS = """
import sys, torch
sys.path.insert(0, {tests!r})
from data.frames.test_stream import source_of, windows_of
from fastsep import entry
def main():
    source = source_of(1, 3000)
    streamed, _ = windows_of(source)
    source.delay = 0.2
    streamed.expect(streamed.order(torch.Generator().manual_seed(1)))
    print("reading", flush=True)
    {end}
entry.run(main)
"""


@pytest.mark.parametrize(
    "end", ["pass", "streamed.batch(streamed.order(torch.Generator().manual_seed(1)))"], ids=["end", "signal"]
)
def test_a_process_that_reads_ends_at_once(end):
    script = ENDS.format(tests=str(Path(__file__).parents[2]), end=end)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "reading\n"
    began = time.monotonic()
    if end != "pass":
        time.sleep(0.3)
        process.terminate()
    assert process.wait(20) == (0 if end == "pass" else 143)
    assert time.monotonic() - began < 5
