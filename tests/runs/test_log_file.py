"""The log is decoration: it survives what others do to it, and never ends a training."""

import errno
import os
import shutil

import pytest
from full_disk import room_for

from fastsep.runs.log_file import COLUMNS, LogFile, read_log

HEADER = ",".join(COLUMNS)


def add(path, first_step, *steps):
    log = LogFile(path, first_step)
    for step in steps:
        log.write({"step": step, "epoch": 0, "total": step + first_step / 1000})
    return log


def steps(run):
    return [row["step"] for row in read_log(run)]


@pytest.fixture
def path(tmp_path):
    add(tmp_path / "log.csv", 0, 10, 20, 30)
    return tmp_path / "log.csv"


def test_rows_come_back_as_numbers(path, tmp_path):
    rows = read_log(tmp_path)
    assert [row["total"] for row in rows] == [10.0, 20.0, 30.0]
    assert rows[0]["epoch"] == 0 and rows[0]["test_mse"] == ""
    assert read_log(tmp_path / "nowhere") == []


def test_a_resumed_log_has_no_step_twice(path, tmp_path):
    add(path, 20, 25, 30)
    assert steps(tmp_path) == [10, 20, 25, 30]
    assert path.read_text().count("\n") == 5


def test_lines_that_are_not_ours_stay_and_a_cut_one_goes(path, tmp_path):
    lines = path.read_text().splitlines()
    lines.insert(2, "# a remark, by hand")
    path.write_text("\n".join([*lines, "40,0,0.0"]))
    add(path, 20, 30)
    assert "# a remark, by hand" in path.read_text().splitlines()
    assert "40,0,0.0" not in path.read_text()
    assert steps(tmp_path) == [10, 20, 30]


def test_a_byte_order_mark_is_no_reason_to_fail(path, tmp_path):
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert steps(tmp_path) == [10, 20, 30]
    add(path, 20, 30)
    assert steps(tmp_path) == [10, 20, 30]


def test_a_number_that_was_cut_short_is_no_number(path, tmp_path):
    path.write_bytes(path.read_bytes() + b"40,0,0.1,1,1,1,1,5,,12")  # of 1234 sequences a second
    assert steps(tmp_path) == [10, 20, 30]
    add(path, 40, 50)
    assert steps(tmp_path) == [10, 20, 30, 50]


@pytest.mark.parametrize("content", [b"time;loss\n1;2\n", b"\xff\x00\xfe", b'"', b"step\n1\n", None])
def test_what_is_no_log_is_kept_under_another_name(tmp_path, content, capsys):
    path = tmp_path / "log.csv"
    path.mkdir() if content is None else path.write_bytes(content)
    assert read_log(tmp_path) == []
    assert "is not read as a log" in capsys.readouterr().err
    add(path, 0, 10)
    assert steps(tmp_path) == [10]
    aside = tmp_path / "log.csv.aside-1"
    assert aside.is_dir() if content is None else aside.read_bytes() == content
    assert capsys.readouterr().err.count("warning: ") == 1


def test_rows_that_a_full_disk_refuses_follow_later(path, tmp_path, capsys):
    log = add(path, 30, 40)
    with room_for(5):
        log.write({"step": 50})
        log.write({"step": 60})
    assert steps(tmp_path) == [10, 20, 30, 40]
    log.write({"step": 70})
    assert steps(tmp_path) == [10, 20, 30, 40, 50, 60, 70]
    assert capsys.readouterr().err.count("warning: ") == 1


@pytest.mark.parametrize("takes_nothing", [False, True])
def test_a_full_disk_leaves_the_old_log_whole(takes_nothing, path, tmp_path, monkeypatch, capsys):
    path.write_text(path.read_text() + "cut sho")
    before = path.read_bytes()

    def full(*_):
        if takes_nothing:
            return 0
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log = add(path, 10, 20)
        assert path.read_bytes() == before
    log.write({"step": 30, "total": 7.0})
    assert path.read_bytes().startswith(before)
    assert steps(tmp_path) == [10, 20, 30]
    assert read_log(tmp_path)[-1]["total"] == 7.0
    assert ("no more bytes" if takes_nothing else "No space left") in capsys.readouterr().err
    add(path, 30)
    assert steps(tmp_path) == [10, 20, 30]


def test_a_log_that_is_removed_meanwhile_is_begun_anew(path, tmp_path):
    log = add(path, 30, 40)
    path.unlink()
    log.write({"step": 50})
    assert steps(tmp_path) == [50]
    shutil.rmtree(tmp_path)
    log.write({"step": 60})  # a warning, no error


def test_a_long_log_is_continued_quickly(tmp_path):
    rows = "".join(f"{step},0" + "," * (len(COLUMNS) - 2) + "\r\n" for step in range(1, 50_001))
    (tmp_path / "log.csv").write_text(HEADER + "\r\n" + rows)
    add(tmp_path / "log.csv", 40_000, 40_001)
    assert len(read_log(tmp_path)) == 40_001
