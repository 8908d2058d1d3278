"""Files are whole or absent; links, permissions and other writers are respected."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from disk_order import safely_named

from fastsep import locks
from fastsep.files import make_directory, whole_file, whole_path, write_bytes, write_problem, write_text
from fastsep.locks import holder, lock


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o640
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_appears_whole_with_the_permissions_of_the_umask(tmp_path, umask):
    with whole_file(tmp_path / "a.txt") as file:
        file.write(b"one ")
        assert not (tmp_path / "a.txt").exists()
        file.write(b"two")
    assert (tmp_path / "a.txt").read_bytes() == b"one two"
    assert mode(tmp_path / "a.txt") == umask
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("theirs", [0o600, 0o666])
def test_what_a_library_writes_has_the_permissions_of_the_umask(tmp_path, umask, theirs):
    with whole_path(tmp_path / "b.bin") as part:
        assert part.suffix == ".bin"
        part.unlink()
        part.write_bytes(b"data")
        part.chmod(theirs)
    assert mode(tmp_path / "b.bin") == umask
    assert names(tmp_path) == ["b.bin"]


@pytest.mark.parametrize("kind", [whole_file, whole_path])
def test_what_was_there_survives_an_error(tmp_path, kind):
    write_text(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt), kind(tmp_path / "a") as new:
        (new.write if kind is whole_file else new.write_bytes)(b"new")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", [whole_file, whole_path])
@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_written_through(tmp_path, kind, exists):
    far = tmp_path / "far"
    far.mkdir()
    if exists:
        (far / "real").write_text("old")
    (tmp_path / "link").symlink_to(far / "real")
    with kind(tmp_path / "link") as new:
        (new.write if kind is whole_file else new.write_bytes)(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (far / "real").read_text() == "new"
    assert names(far) == ["real"]


def test_a_directory_or_a_device_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a device or a pipe"):
        write_text(tmp_path / "pipe", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_the_beginning_that_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / ".a.part.txt").write_text("a long beginning of something else")
    write_text(tmp_path / "a.txt", "short")
    assert (tmp_path / "a.txt").read_text() == "short"
    (tmp_path / ".b.part.txt").write_text("a long beginning of something else")
    (tmp_path / ".b.txt.lock").write_text("process 1 on elsewhere")
    with whole_path(tmp_path / "b.txt") as part:
        assert part.read_bytes() == b""
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_files_are_on_the_disk_before_they_have_their_names(tmp_path):
    with safely_named() as named:
        write_text(tmp_path / "a", "text")
        with whole_file(tmp_path / "b") as file:
            file.write(b"stream")
        with whole_path(tmp_path / "c.npy") as part:
            part.write_bytes(b"library")
    assert named == ["a", "b", "c.npy"]


def test_writers_of_the_same_file_follow_each_other(tmp_path):
    def write(letter):
        for _ in range(20):
            with whole_file(tmp_path / "a") as file:
                for _ in range(50):
                    file.write(letter * 1000)
                    file.flush()

    seen = set()
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, letter) for letter in (b"x", b"y", b"z")]
        while not all(writer.done() for writer in writers):
            if (tmp_path / "a").exists():
                seen.add((tmp_path / "a").read_bytes())
    for writer in writers:
        writer.result()  # what it raised
    seen.add((tmp_path / "a").read_bytes())
    assert seen <= {letter * 50_000 for letter in (b"x", b"y", b"z")}
    assert names(tmp_path) == ["a"]


def test_a_library_s_file_that_is_being_written_is_refused(tmp_path):
    with whole_path(tmp_path / "a") as part:
        part.write_bytes(b"first")
        with pytest.raises(BlockingIOError), whole_path(tmp_path / "a"):
            raise AssertionError("two writers at once")
    assert (tmp_path / "a").read_bytes() == b"first"


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:7]))
    data = os.urandom(1000)
    write_bytes(tmp_path / "a", data)
    assert (tmp_path / "a").read_bytes() == data


def test_a_lock_ends_with_its_process_and_says_who_holds_it(tmp_path):
    path = tmp_path / ".lock"
    code = (
        "import sys, time; from pathlib import Path; from fastsep.locks import lock\n"
        "with lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        assert str(process.pid) in holder(path)
        with pytest.raises(BlockingIOError), lock(path):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert path.exists()  # a killed process removes nothing
    with lock(path):
        assert str(os.getpid()) in holder(path)
    assert not path.exists()


def test_a_lock_is_handed_on_one_at_a_time(tmp_path):
    held, most = 0, 0

    def work():
        nonlocal held, most
        for _ in range(30):
            while True:
                try:
                    with lock(tmp_path / ".lock"):
                        held += 1
                        most = max(most, held)
                        time.sleep(0.0005)
                        held -= 1
                    break
                except BlockingIOError:
                    time.sleep(0.0002)

    with ThreadPoolExecutor() as pool:
        for worker in [pool.submit(work) for _ in range(4)]:
            worker.result()  # what it raised
    assert (held, most) == (0, 1)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "left on device): free some on the disk of /some/place, or"),
        (OSError(errno.EACCES, "Permission denied"), "(Permission denied): mend the rights of /some/place, or"),
        (OSError(errno.EROFS, "Read-only file system"), "(Read-only file system): choose another --out"),
        (BlockingIOError(errno.EAGAIN, "locked"), "another process is writing it): wait"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (RuntimeError("first line\nsecond"), "first line"),
    ],
)
def test_the_true_cause_is_named(error, words):
    text = str(write_problem(Path("/some/place/file"), error, "choose another --out"))
    assert words in text and "choose another --out" in text
    assert "\n" not in text


def test_directories_are_made_with_those_above(tmp_path):
    make_directory(tmp_path / "a" / "b" / "c")
    make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        make_directory(tmp_path / "file" / "x")
    with pytest.raises(NotADirectoryError):
        make_directory(tmp_path / "file")


def test_a_file_system_without_locks_is_said_once(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(locks, "_unlocked", set())
    for name in ("a", "b"):
        write_text(tmp_path / name, name)
        with lock(tmp_path / f"{name}.lock"):
            assert (tmp_path / name).read_text() == name
    assert capsys.readouterr().err == (
        f"warning: the file system of {tmp_path} has no locks: let no two processes write there at the same time\n"
    )


def test_a_file_that_is_write_protected_stays(tmp_path, monkeypatch):
    (tmp_path / "mine").write_text("mine")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anything
    with pytest.raises(OSError, match="write-protected"):
        write_text(tmp_path / "mine", "other")
    assert (tmp_path / "mine").read_text() == "mine" and os.listdir(tmp_path) == ["mine"]
    write_text(tmp_path / "new", "new")
