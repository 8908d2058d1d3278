"""Trainings that are killed, told to stop or let down by their disk end where the others do."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from network_cases import SMALL

from bench.trust.faults import ERRORS, Layer
from bench.trust.table import trust_section
from fastsep.config import Config
from fastsep.data.wave.settings import Wave100
from fastsep.errors import UserError
from fastsep.files import write_text
from fastsep.model import SeparableModel
from fastsep.runs.checkpoint import newest_checkpoint, save_checkpoint
from fastsep.runs.directory import create_run, load_config, training_lock
from fastsep.runs.log_file import LogFile, read_log

ROOT = Path(__file__).parents[2]


def trust(*arguments):
    """The counts of a pass over all parts."""
    command = [sys.executable, "-m", "bench.trust", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts = {}
    for line in done.stdout.splitlines():
        counts |= json.loads(line) if line.startswith("{") else {}
    assert all(part["tracebacks"] == 0 for part in counts.values())
    return counts


def test_trainings_survive_kills_signals_and_failing_disks():
    counts = trust("--quick", "kills", "terminations", "faults", "--kills", "4", "--terminations", "3")
    assert counts["kills"]["kills"] == 4 and counts["terminations"]["kills"] == 3
    assert counts["kills"]["runs"] >= 1 and counts["kills"]["evaluated"] >= 1
    assert counts["faults"]["faults"] >= 10


@pytest.mark.slow
@pytest.mark.parametrize("part", ["kills", "terminations"])
def test_trainings_survive_120_stops(part):
    counts = trust("--quick", part, f"--{part}", "120")[part]
    assert counts["kills"] == 120 and counts["runs"] >= 6 and counts["evaluated"] >= 30


@pytest.mark.slow
def test_trainings_survive_20_kills_of_ranks():
    counts = trust("--quick", "ranks", "--ranks", "20")["ranks"]
    assert counts["kills"] == 20 and counts["runs"] >= 7


@pytest.mark.slow
def test_trainings_survive_faults_all_along():
    counts = trust("--quick", "faults", "--faults", "5")["faults"]
    assert counts["faults"] >= 200 and counts["ended_with_an_error"] >= 50


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with a checkpoint, and a model that differs from it."""
    run = tmp_path_factory.mktemp("faults") / "run"
    create_run(run, Config(data=Wave100(), model=SMALL))
    save_checkpoint(run, 1, SeparableModel(SMALL), {"step": 1}, test_mse=0.1)
    save_checkpoint(run, 2, SeparableModel(SMALL), {"step": 2}, test_mse=0.2)
    LogFile(run / "log.csv", 0).write({"step": 1})
    return run, SeparableModel(SMALL)


def each_operation(folder, work):
    """The layer struck at every operation of ``work`` in turn, for every fault that leaves the process alive."""
    counting = Layer(folder)
    with counting():
        work()
    for kind in (*ERRORS, "ENOSPC for good", "short"):
        for place in range(len(counting.seen)):
            yield Layer(folder, place, kind)


def test_a_checkpoint_that_fails_at_any_operation_leaves_a_whole_one(saved, tmp_path):
    source, model = saved
    run = tmp_path / "run"
    struck = failed = 0

    def fresh():
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(source, run)

    fresh()
    for layer in each_operation(run, lambda: save_checkpoint(run, 3, model, {"step": 3})):
        fresh()
        with layer():
            try:
                save_checkpoint(run, 3, model, {"step": 3})
            except UserError as error:
                failed += 1
                assert "\n" not in str(error) and "--resume" in str(error)
        struck += layer.is_struck
        newest = newest_checkpoint(run)
        assert newest.step in (2, 3), layer
        assert newest.state == {"step": newest.step}
        save_checkpoint(run, 4, model, {"step": 4})
        assert newest_checkpoint(run).step == 4
        assert {path.name for path in (run / "checkpoints").iterdir()} <= {f"step-0000000{n}" for n in (1, 2, 3, 4)}
    assert struck > 100 and failed > 50


def test_a_run_whose_start_fails_at_any_operation_can_start_again(tmp_path):
    run, config = tmp_path / "run", Config(data=Wave100(), model=SMALL)

    def start():
        with training_lock(run, make=True):
            create_run(run, config)

    failed = 0
    for layer in each_operation(run, start):
        shutil.rmtree(run, ignore_errors=True)
        with layer():
            try:
                start()
            except UserError as error:
                failed += 1
                assert "\n" not in str(error) and str(run) in str(error)
        start()
        assert load_config(run).model == config.model
    assert failed > 20


def test_a_log_that_fails_at_any_operation_ends_nothing_and_loses_no_row(tmp_path, capsys):
    path = tmp_path / "log.csv"

    def fresh():
        path.unlink(missing_ok=True)
        log = LogFile(path, 0)
        for step in (10, 20, 30):
            log.write({"step": step, "total": 1.0})

    def go_on():
        log = LogFile(path, 20)
        for step in (25, 30):
            log.write({"step": step, "total": 2.0})
        return log

    fresh()
    for layer in each_operation(tmp_path, go_on):
        fresh()
        with layer():
            log = go_on()
        log.write({"step": 40, "total": 2.0})
        rows = read_log(tmp_path)
        assert [row["step"] for row in rows] == [10, 20, 25, 30, 40], layer
        assert [row["total"] for row in rows] == [1.0, 1.0, 2.0, 2.0, 2.0]
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_that_fails_at_any_operation_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "metrics.json"
    write_text(path, "old")
    new = "new" * 1000
    failed = 0
    for layer in each_operation(tmp_path, lambda: write_text(path, new)):
        write_text(path, "old")
        with layer():
            try:
                write_text(path, new)
            except OSError:
                failed += 1
        assert path.read_text() in ("old", new)
        if layer.kind == "short":
            assert path.read_text() == new
    assert failed > 10


def test_the_table_names_every_count():
    counts = {
        "kills": {"kills": 200, "in_a_write": 20, "evaluated": 150, "runs": 30, "tracebacks": 0, "date": "2020-01-01"},
        "faults": {"faults": 1200, "ended_with_an_error": 500, "operations": 203, "tracebacks": 0},
        "mutations": {"files": 100_000, "tracebacks": 0, "formats": 9},
    }
    text = trust_section(counts)
    for word in ("200", "150", "1,200", "203", "100,000", "2020-01-01"):
        assert word in text
    assert trust_section({}) == ""
