from __future__ import annotations

import errno
import os
import resource
import signal

import numpy as np
import pytest
import torch

from fastsep.data import residency
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.errors import UserError

FRAMES = torch.arange(2 * 5).view(2, 5, 1).float()  # sequence 0: 0..4, sequence 1: 5..9


def test_windows_run_forwards_backwards_and_round():
    starts = torch.tensor([[0, 1], [1, 3]])
    index = torch.tensor([1, 0])
    forwards = TensorWindows(FRAMES, starts[:1], 3)
    assert forwards.batch(index[1:]).flatten().tolist() == [1, 2, 3]
    backwards = TensorWindows(FRAMES, starts[:1], 3, newest_first=True)
    assert backwards.batch(index[1:]).flatten().tolist() == [3, 2, 1]
    cyclic = TensorWindows(FRAMES, starts, 4, cyclic=True)
    assert cyclic.batch(index).flatten().tolist() == [8, 9, 5, 6, 1, 2, 3, 4]


def test_bytes_become_values_of_0_to_1():
    windows = TensorWindows(torch.tensor([[[0], [51], [255]]], dtype=torch.uint8), all_starts(1, 3, 2), 2)
    assert len(windows) == 2
    assert torch.equal(windows.batch(torch.tensor([1])).flatten(), torch.tensor([51, 255]) / 255)


def test_frames_on_the_host_are_handed_to_the_device():
    windows = TensorWindows(FRAMES, all_starts(2, 5, 3), 3, device=torch.device("meta"))
    assert not windows.resident and windows.device.type == "meta"
    assert windows.batch(torch.tensor([0, 5])).device.type == "meta"
    assert TensorWindows(FRAMES, all_starts(2, 5, 3), 3).resident


def test_arrays_too_large_for_memory_are_mapped(monkeypatch):
    assert not isinstance(residency.host_array((3, 4), np.float32), np.memmap)
    monkeypatch.setattr(residency, "free_bytes", lambda device: 10)
    array = residency.host_array((3, 4), np.float32)
    assert isinstance(array, np.memmap) and array.shape == (3, 4)
    array[:] = 7
    placed = residency.place(array, torch.device("cpu"))
    array[0, 0] = 8
    assert placed[0, 0] == 8  # the mapped file itself, not a copy


def test_a_mapped_file_that_fits_is_read_into_memory(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(5, np.float32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="c")
    placed = residency.place(mapped, torch.device("cpu"))
    mapped[0] = 3
    assert placed[0] == 1


def test_free_memory_is_known():
    assert residency.free_bytes(torch.device("cpu")) > 1_000_000


def test_no_room_for_a_mapped_array_is_one_line_and_no_bus_error(monkeypatch):
    monkeypatch.setattr(residency, "free_bytes", lambda device: 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        assert residency.host_array((1 << 18,), np.float32).size == 1 << 18
        with pytest.raises(UserError, match=r"2\.10 MB fit neither memory nor .* \(File too large\): set TMPDIR"):
            residency.host_array((1 << 19,), np.float32)
    finally:
        signal.signal(signal.SIGXFSZ, heeded)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSPC])
def test_space_is_taken_by_writing_where_the_file_system_cannot_reserve(number, tmp_path, monkeypatch):
    def refuse(descriptor, first, size):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(residency, "free_bytes", lambda device: 0)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    if number == errno.ENOSPC:
        with pytest.raises(UserError, match="No space left on device"):
            residency.host_array((3_000_001,), np.uint8)
    else:
        assert not residency.host_array((3_000_001,), np.uint8).any()


def test_what_memory_cannot_hold_is_refused_with_both_sizes(monkeypatch):
    monkeypatch.setattr(residency, "free_bytes", lambda device: 3_000_000_000)
    residency.require_memory(3_000_000_000, "a", "b")
    with pytest.raises(UserError, match=r"^this takes 5\.00 GB of memory, 3\.00 GB are free: give less$"):
        residency.require_memory(5_000_000_000, "this", "give less")
