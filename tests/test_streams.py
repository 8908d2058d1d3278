"""Bytes of large files: complete and in their places, whatever the system takes at once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fastsep import streams
from fastsep.streams import stream_inside, sync_inside, write_at

DATA = os.urandom(3_000_000)


@pytest.mark.parametrize("at_once", [1 << 30, 700_001])
def test_pieces_make_the_whole(at_once: int, tmp_path: Path, monkeypatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:at_once], offset))
    with (tmp_path / "x").open("wb") as file:
        for first, end in ((1_000_001, 3_000_000), (0, 1_000_001)):
            write_at(file.fileno(), memoryview(DATA)[first:end], first)
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_stream_of_small_and_large_parts(tmp_path: Path) -> None:
    with stream_inside(tmp_path / "x") as file:
        for first, end in ((0, 10), (10, 2_500_000), (2_500_000, 2_500_001), (2_500_001, len(DATA))):
            file.write(memoryview(DATA)[first:end])
    sync_inside(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    with pytest.raises(FileExistsError), stream_inside(tmp_path / "x"):
        pass


@pytest.mark.parametrize("problem", [errno.ENOSPC, 0])
def test_a_disk_that_takes_no_more_is_an_error(problem: int, tmp_path: Path, monkeypatch) -> None:
    def full(descriptor: int, data: memoryview, offset: int) -> int:
        if problem:
            raise OSError(problem, os.strerror(problem))
        return 0

    monkeypatch.setattr(os, "pwrite", full)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError) as caught, stream_inside(tmp_path / "x") as file:
        file.write(DATA)
    assert caught.value.errno == (problem or errno.EIO)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_advice_that_nobody_takes_costs_nothing(tmp_path: Path, monkeypatch) -> None:
    def refuse(*values: int) -> None:
        raise OSError(errno.EINVAL, "no such advice")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    with stream_inside(tmp_path / "x") as file:
        file.write(DATA)
    monkeypatch.delattr(os, "posix_fadvise")
    with stream_inside(tmp_path / "y") as file:
        file.write(DATA)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes() == DATA
    assert len(DATA) > streams._PIECE
