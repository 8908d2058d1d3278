"""The GPU suite's bookkeeping: nothing is lost when a run is cut off, and nothing is run twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench.gpu_suite import done_parts
from bench.parts import trainer
from bench.recorder import STOPPED, Recorder, append
from bench.rows import Row, read_lines
from bench.subjects import Subject

CPU = torch.device("cpu")


def recorder(path: Path, seconds: float = 60) -> Recorder:
    return Recorder(path, "part", CPU, dry=True, deadline=time.monotonic() + seconds)


def row(way: str) -> Row:
    return Row("group", way, "cpu", case={"batch": 2}, items=2)


def test_rows_are_timed_once_and_kept(tmp_path: Path) -> None:
    path, calls = tmp_path / "suite.jsonl", []
    first = recorder(path)
    assert first.time(row("a"), lambda: Subject(row("a"), lambda: calls.append(1), times=2)).median >= 0
    seen = len(calls)
    assert seen > 2
    recorder(path).time(row("a"), lambda: pytest.fail("measured twice"))
    assert len(calls) == seen
    (line,) = [line for line in read_lines(path) if line["kind"] == "row"]
    assert line["key"] == row("a").key and line["seconds"]["rounds"] == 2


def test_a_failure_is_a_row_and_the_next_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"

    def broken() -> Subject:
        raise RuntimeError("no kernel\nsecond line")

    r = recorder(path)
    r.time(row("a"), broken)
    r.time(row("b"), lambda: Subject(row("b"), lambda: None))
    lines = [line for line in read_lines(path) if line["kind"] == "row"]
    assert lines[0]["absent"] == "failed: RuntimeError: no kernel"
    assert "seconds" in lines[1]


def test_a_look_at_what_was_timed_may_fail_alone(tmp_path: Path) -> None:
    path, r = tmp_path / "suite.jsonl", recorder(tmp_path / "suite.jsonl")
    r.time(row("a"), lambda: Subject(row("a"), lambda: None), note=("look", lambda subject: {"way": subject.row.way}))
    r.time(row("b"), lambda: Subject(row("b"), lambda: None), note=("fails", lambda subject: {"x": subject.missing}))
    r.time(row("c"), lambda: 1 / 0, note=("nothing", lambda subject: {}))
    lines = {line["key"]: line for line in read_lines(path) if line["kind"] in ("row", "note")}
    assert lines["look"]["way"] == "a" and "AttributeError" in lines["fails"]["failed"]
    assert all("seconds" in lines[row(way).key] for way in "ab") and "nothing" not in lines


def test_what_ended_its_process_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"
    append(path, {"kind": "start", "part": "part", "key": row("a").key})
    recorder(path).time(row("a"), lambda: pytest.fail("started again"))
    assert read_lines(path)[-1]["failed"] == "ended its process"


def test_what_was_stopped_for_want_of_time_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"
    append(path, {"kind": "start", "part": "part", "key": row("a").key})
    append(path, {"kind": "part", "part": "part", "status": STOPPED})
    append(path, {"kind": "start", "part": "part", "key": row("b").key})
    r = recorder(path)
    assert r.time(row("a"), lambda: Subject(row("a"), lambda: None)) is not None
    r.time(row("b"), lambda: pytest.fail("started again"))


def test_a_look_that_there_was_no_time_for_is_made_up_for(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"
    recorder(path).time(row("a"), lambda: Subject(row("a"), lambda: None))
    note = "look", lambda subject: {"way": subject.row.way}
    for _ in range(2):
        recorder(path).time(row("a"), lambda: Subject(row("a"), lambda: None), note=note)
    kinds = [line["kind"] for line in read_lines(path)]
    assert kinds == ["start", "row", "start", "note"] and read_lines(path)[-1]["way"] == "a"


def test_trainings_that_there_is_no_time_for_are_left_out_and_said_to_be(tmp_path: Path, monkeypatch) -> None:
    places = []

    def reproduce(name, seed, place, device, small):
        places.append(place)
        place.mkdir()
        return {"scores": []}

    monkeypatch.setattr("bench.parts.reproduce.reproduce", reproduce)
    late = recorder(tmp_path / "suite.jsonl", seconds=-1)
    trainer(("wave", 0))(late)
    assert late.left_out == 1 and not places
    trainer(("wave", 0))(recorder(tmp_path / "suite.jsonl"))
    assert places == [tmp_path / ".wave-seed0"] and [path.name for path in tmp_path.iterdir()] == ["suite.jsonl"]


def test_nothing_starts_after_the_deadline(tmp_path: Path) -> None:
    r = recorder(tmp_path / "suite.jsonl", seconds=-1)
    r.note("late", lambda: pytest.fail("started late"))
    assert r.left_out == 1


@pytest.mark.slow
def test_the_command_writes_results(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.gpu_suite", "--dry-run", "--only", "ceilings", "--out", str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / "suite.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["environment", "start", "note", "part"]
    assert lines[2]["matmul_fp32"] > 0 and lines[2]["copy"] > 0
    assert done_parts(tmp_path / "suite.jsonl") == {"ceilings"}


def test_an_unknown_part_is_refused() -> None:
    command = [sys.executable, "-m", "bench.gpu_suite", "--dry-run", "--only", "nonsense"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 2 and "no part is called nonsense" in done.stderr
