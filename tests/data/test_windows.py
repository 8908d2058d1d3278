from __future__ import annotations

import numpy as np
import torch

from fastsep.data import residency
from fastsep.data.windows import TensorWindows, all_starts

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
