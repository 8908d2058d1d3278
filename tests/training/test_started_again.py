"""The same command given again: it begins a run, goes on with it, or finds it complete; and each start is recorded."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loop_cases import pulses_config, stop_at, weights_of

from fastsep import signals
from fastsep.config import started_again
from fastsep.errors import UserError
from fastsep.evaluation import is_scored
from fastsep.presets import preset
from fastsep.runs.checkpoint import newest_checkpoint
from fastsep.runs.directory import load_config
from fastsep.runs.log_file import read_log
from fastsep.runs.starts import NAME, read_starts
from fastsep.training.loop import resume, train
from fastsep.training.step import TrainStep


@pytest.fixture
def config(monkeypatch):
    return pulses_config(monkeypatch)


@pytest.fixture
def again(config):
    return replace(config, run=replace(config.run, auto_resume=True))


def test_a_broken_run_goes_on_to_where_an_unbroken_one_ends(config, again, tmp_path, monkeypatch, capsys):
    train(config, tmp_path / "whole", False)
    with monkeypatch.context() as patch:
        stop_at(patch, 27, signals.SIGNALS[0])
        with pytest.raises(signals.Stopped, match="step 27 is saved"):
            train(again, tmp_path / "run")
    train(again, tmp_path / "run")
    assert "goes on after step 27 of 40" in capsys.readouterr().out
    for ours, theirs in zip(*(weights_of(tmp_path / name).values() for name in ("run", "whole")), strict=True):
        assert torch.equal(ours, theirs)


def test_a_complete_run_is_left_as_it_is_and_a_longer_one_is_extended(again, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    train(again, run)
    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", lambda *_: pytest.fail("trained again"))
        train(again, run)
    assert "is complete (40 steps; extend it" in capsys.readouterr().out
    train(replace(again, optim=replace(again.optim, steps=60)), run, False)
    assert [row["step"] for row in read_log(run)] == list(range(10, 61, 10))


def test_other_settings_are_refused_and_what_was_left_open_is_as_it_was_settled(again, tmp_path):
    run = tmp_path / "run"
    model = replace(again.model, encoder="auto", decoder="auto", shape=(), gain_resnet=None)
    open_ones = replace(again, model=model, optim=replace(again.optim, batch_size=None, epochs=None, steps=10))
    train(open_ones, run, False)
    settled = load_config(run)
    train(open_ones, run, False)
    assert load_config(run) == settled
    with pytest.raises(UserError, match="keeps its --seed: leave out what differs, or start a new run"):
        train(replace(open_ones, run=replace(open_ones.run, seed=1)), run, False)
    with pytest.raises(UserError, match="keeps its --res-hidden-size"):
        train(replace(open_ones, model=replace(model, res_hidden_size=16)), run, False)


@pytest.mark.parametrize(
    ("before", "given", "expected"),
    [
        ({"steps": 24}, {"steps": 12}, {"steps": 24}),
        ({"steps": 24}, {"steps": 36}, {"steps": 36}),
        ({"epochs": 3}, {"epochs": 2}, {"epochs": 3, "steps": None}),
        ({"epochs": 2}, {"epochs": 3}, {"epochs": 3, "steps": None}),
        ({"steps": 24}, {"epochs": 3}, {"steps": 24}),
        ({"data": "elsewhere"}, {}, {"data": Path("elsewhere")}),
        ({"data": "elsewhere"}, {"data": "nearer"}, {"data": Path("nearer")}),
        ({"device": "cpu"}, {"log_every": 3}, {"device": "auto", "log_every": 3}),
    ],
)
def test_a_run_that_was_extended_or_moved_stays_so(before, given, expected):
    config = preset("wave100-onecycle", steps=12)
    after = started_again(config.having(**before), config.having(**given))
    values = vars(after.optim) | vars(after.data) | vars(after.run)
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["again", "config"])
def test_a_complete_run_keeps_its_length_whatever_it_is_resumed_with(name, tmp_path, request):
    run, begun = tmp_path / "run", request.getfixturevalue(name)
    train(begun, run, False)
    before = load_config(run)
    shorter = replace(before, optim=replace(before.optim, steps=5), run=replace(before.run, log_every=3))
    if name == "again":
        resume(run, False, shorter, again=True)
        assert load_config(run) == replace(shorter, optim=before.optim)
    else:
        with pytest.raises(UserError, match="is complete"):
            resume(run, False, shorter)
        assert load_config(run) == before


def test_a_row_is_told_when_its_checkpoint_is_there(config, tmp_path):
    def fail(row):
        if row["step"] == 20:
            raise ConnectionError("nobody listens")

    with pytest.raises(ConnectionError):
        train(config, tmp_path / "run", False, on_row=fail)
    assert newest_checkpoint(tmp_path / "run").step == 20


def test_a_start_that_came_to_no_checkpoint_is_begun_anew_with_any_settings(again, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
        with pytest.raises(UserError, match="start anew with a lower --batch-size"):
            train(again, run, False)
    train(replace(again, optim=replace(again.optim, batch_size=8)), run, False)
    assert load_config(run).optim.batch_size == 8 and [start["step"] for start in read_starts(run)] == [0]
    shutil.rmtree(run / "checkpoints")
    capsys.readouterr()
    train(again, run, False)
    assert "has a log to step 40 and no checkpoints: it begins at step 0 again" in capsys.readouterr().err


def test_a_run_that_was_trained_anew_is_not_yet_scored(again, tmp_path):
    run = tmp_path / "run"
    train(again, run, False)
    (run / "metrics.json").write_text(json.dumps({"step": 40, "starts": read_starts(run)}))
    assert not is_scored(run)  # and was stopped before its figures were drawn
    (run / "metrics.json").write_text(json.dumps({"step": 40, "starts": read_starts(run), "figures": []}))
    assert is_scored(run)
    shutil.rmtree(run / "checkpoints")
    time.sleep(1.1)  # starts have seconds
    train(again, run, False)
    assert not is_scored(run)


def test_without_the_option_a_run_is_not_continued(config, tmp_path):
    train(config, tmp_path / "run", False)
    with pytest.raises(UserError, match="already holds a run: continue it with --resume"):
        train(config, tmp_path / "run", False)


def test_rows_go_to_the_caller_as_well(config, tmp_path):
    rows, run = [], str(tmp_path / "run")
    train(replace(config, run=replace(config.run, out=run)), show_progress=False, on_row=rows.append)
    resume(run, False, replace(load_config(run), optim=replace(config.optim, steps=50)), on_row=rows.append)
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50]
    logged = read_log(run)
    assert rows[-1].keys() <= logged[-1].keys()
    assert rows[-1]["total"] == pytest.approx(logged[-1]["total"], rel=1e-5)
    assert "test_mse" in rows[1] and "test_mse" not in rows[0]


def test_each_start_is_recorded_and_another_precision_is_said(config, tmp_path, capsys):
    run = tmp_path / "run"
    train(replace(config, optim=replace(config.optim, steps=20)), run, False)
    longer = replace(load_config(run), optim=replace(config.optim, steps=30))
    resume(run, False, replace(longer, run=replace(longer.run, precision="bf16")))
    assert f"{run} was trained in fp32 so far and goes on in bf16: give --precision fp32" in capsys.readouterr().err
    first, second = read_starts(run)
    assert (first["step"], first["precision"], second["step"], second["precision"]) == (0, "fp32", 20, "bf16")
    assert first["device"] == "cpu" and first["torch"] == torch.__version__ and first["processes"] == 1
    assert not first["compile"] and len(first["commit"]) >= 7


@pytest.mark.parametrize("damage", ["{", "[]\n", "1\n", b"\xff"])
def test_a_damaged_record_ends_nothing(damage, config, tmp_path):
    run = tmp_path / "run"
    train(replace(config, optim=replace(config.optim, steps=20)), run, False)
    (run / NAME).write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    resume(run, False, replace(load_config(run), optim=replace(config.optim, steps=30)))
    assert [start["step"] for start in read_starts(run)] == [20]
    assert json.loads((run / NAME).read_text().splitlines()[0])
