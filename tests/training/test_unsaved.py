"""Checkpoints that cannot be written: one or two in a row cost a warning; the last one is written or is an error."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from loop_cases import pulses_config, stop_at, weights_of

from fastsep import signals
from fastsep.errors import UserError
from fastsep.runs.checkpoint import newest_checkpoint
from fastsep.training import trainer
from fastsep.training.loop import resume, train

STEPS = (5, 10, 15, 20, 25, 30)


@pytest.fixture
def config(monkeypatch):
    config = pulses_config(monkeypatch)
    optim, run = replace(config.optim, steps=STEPS[-1]), replace(config.run, checkpoint_every=STEPS[0])
    return replace(config, optim=optim, run=run)


def full_at(monkeypatch, *steps: int) -> None:
    """The disk is full when these steps are saved."""
    save, rename = trainer.save_checkpoint, os.rename

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def saving(run, step, *values):
        monkeypatch.setattr(os, "rename", full if step in steps else rename)
        try:
            return save(run, step, *values)
        finally:
            monkeypatch.setattr(os, "rename", rename)

    monkeypatch.setattr(trainer, "save_checkpoint", saving)


@pytest.mark.parametrize("steps", [(5,), (10, 15), (5, 10, 20, 25)])
def test_training_goes_on_and_ends_where_it_would_have(steps, config, tmp_path, monkeypatch, capsys):
    train(config, tmp_path / "whole", False)
    capsys.readouterr()
    full_at(monkeypatch, *steps)
    train(config, tmp_path / "run", False)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == len(steps)
    for step, warning in zip(steps, warnings, strict=True):
        assert warning.startswith("warning: cannot write ") and f"step-{step:08d} (No space left on device)" in warning
        assert warning.endswith(f"; training goes on and tries again at step {step + 5}")
    assert newest_checkpoint(tmp_path / "run").step == STEPS[-1]
    for ours, theirs in zip(*(weights_of(tmp_path / name).values() for name in ("run", "whole")), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("steps", "kept"), [((10, 15, 20), 5), ((30,), 25), (STEPS, None)])
def test_a_disk_that_stays_full_or_fails_at_the_end_is_an_error(steps, kept, config, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        full_at(patch, *steps)
        with pytest.raises(UserError, match=r"No space left on device.*, then continue with --resume"):
            train(config, run, False)
    assert capsys.readouterr().err.count("warning: ") == min(len(steps), 3) - 1
    if kept:
        assert newest_checkpoint(run).step == kept
    resume(run, False)
    assert newest_checkpoint(run).step == STEPS[-1]


def test_who_asks_to_stop_hears_that_the_step_is_not_saved(config, tmp_path, monkeypatch):
    stop_at(monkeypatch, 7, signal.SIGTERM)
    full_at(monkeypatch, 7)
    with pytest.raises(UserError, match=r"step-00000007 \(No space left"), signals.heeded():
        train(config, tmp_path / "run", False)
    assert newest_checkpoint(tmp_path / "run").step == 5


def test_a_run_directory_that_is_away_for_a_moment_costs_a_warning(config, tmp_path, monkeypatch, capsys):
    run, aside, save = tmp_path / "run", tmp_path / "aside", trainer.save_checkpoint

    def saving(run, step, *values):
        away = step == STEPS[1]
        if away:
            os.rename(run, aside)
        try:
            return save(run, step, *values)
        finally:
            if away:
                os.rename(aside, run)

    monkeypatch.setattr(trainer, "save_checkpoint", saving)
    train(config, run, False)
    assert "run is not there any more: bring it back" in capsys.readouterr().err
    assert newest_checkpoint(run).step == STEPS[-1]


@pytest.mark.parametrize("left", ["nothing", "another run's"])
def test_a_run_that_begins_again_for_want_of_its_checkpoints_says_so(left, config, tmp_path, capsys):
    run = tmp_path / "run"
    train(config, run, False)
    if left == "nothing":
        shutil.rmtree(run / "checkpoints")
    else:
        (run / "run.json").write_text(json.dumps({"id": "another", "adopted": []}))
        with pytest.raises(UserError, match=r"another run's: restore its own, or its run.json"):
            newest_checkpoint(run)
    resume(run, False)
    said = capsys.readouterr().err
    assert f"a log to step {STEPS[-1]} and" in said and "it begins at step 0 again" in said


def test_a_run_without_a_log_begins_without_a_word(config, tmp_path, capsys):
    train(config, tmp_path / "run", False)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "log.csv").unlink()
    resume(tmp_path / "run", False)
    assert "begins" not in capsys.readouterr().err


def test_a_place_that_takes_no_checkpoints_is_noticed_before_the_first_step(config, tmp_path, monkeypatch):
    run = tmp_path / "run"
    stop_at(monkeypatch, 12, signal.SIGTERM)
    with pytest.raises(signals.Stopped):
        train(config, run, False)
    log = (run / "log.csv").read_bytes()
    shutil.move(run / "checkpoints", tmp_path / "away")
    (run / "checkpoints").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*checkpoints \(Not a directory\): continue with a copy"):
        resume(run, False)
    assert (run / "log.csv").read_bytes() == log and (run / "checkpoints").read_text() == "in the way"
