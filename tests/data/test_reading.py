"""Every reader of input files names the true cause: locked, not allowed, no memory, or not this format."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from fastsep.data.formats.reading import reading
from fastsep.errors import UserError


def complaint(path: Path, error: BaseException | None = None) -> str:
    with pytest.raises(UserError) as caught, reading(path, "test file", "make it"):
        if error is not None:
            raise error
        path.read_bytes()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that nobody touched for a while."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.utime(path, (time.time() - 1000,) * 2)
    return path


def test_what_is_no_file_is_said(tmp_path):
    assert complaint(tmp_path / "none") == f"{tmp_path / 'none'} does not exist: make it"
    assert complaint(tmp_path) == f"{tmp_path} is a directory: give a file"
    os.mkfifo(tmp_path / "pipe")
    assert complaint(tmp_path / "pipe") == f"{tmp_path / 'pipe'} is no regular file: give a file"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "may not be read by this user"),
        (OSError(errno.EPERM, "Operation not permitted"), "may not be read by this user"),
        (BlockingIOError(errno.EAGAIN, "unable to lock file"), "is open for writing in another program"),
        (OSError("file is already open for write (may use <h5clear file>)"), "h5clear -s"),
        (OSError(errno.ENOLCK, "unable to lock file"), "HDF5_USE_FILE_LOCKING=FALSE"),
        (MemoryError(), "not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (OSError(errno.EIO, "Input/output error"), "the disk cannot deliver"),
    ],
)
def test_a_good_file_is_never_called_damaged(old, error, says):
    text = complaint(old, error)
    assert says in text
    assert not any(word in text for word in ("whole", "damaged", "make it", "delete"))


@pytest.mark.parametrize("error", [ValueError("bad\nsecond line"), KeyError("x"), SystemError(), RecursionError()])
def test_any_other_failure_is_damage(old, error):
    assert complaint(old, error).startswith(f"{old} is not a whole test file (")
    assert complaint(old, error).endswith("): make it")


def test_a_fresh_file_may_still_be_on_its_way(old):
    os.utime(old)
    assert "wait if it is still being written" in complaint(old, ValueError("short"))


def test_a_lock_is_seen_whatever_the_format(old):
    with open(old, "rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert "is open for writing in another program" in complaint(old)
    with reading(old, "test file", "make it"):
        assert old.read_bytes() == b"x"


def test_an_hdf5_file_that_another_program_writes(tmp_path):
    path = tmp_path / "a.h5"
    write = "import sys, h5py; f = h5py.File(sys.argv[1], 'w'); f.flush(); print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", write, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline()
        with (
            pytest.raises(UserError, match="is open for writing in another program"),
            reading(path, "HDF5 file", "make it"),
            h5py.File(path),
        ):
            pass
        writer.communicate(b"")
    with reading(path, "HDF5 file", "make it"), h5py.File(path):
        pass
