"""Trainings that end early, are started twice or lose their disk: what is kept, what is said, and where they end."""

import os
import shutil
from dataclasses import replace

import pytest
import torch
from loop_cases import pulses_config, weights_of

from fastsep.errors import UserError
from fastsep.runs import checkpoint as checkpoints
from fastsep.runs.checkpoint import find_checkpoint, newest_checkpoint
from fastsep.runs.directory import load_config, training_lock
from fastsep.runs.log_file import read_log
from fastsep.training.loop import resume, train
from fastsep.training.step import TrainStep
from fastsep.training.trainer import Trainer


def short(config, steps=12, **run):
    return replace(
        config,
        optim=replace(config.optim, steps=steps, batch_size=8),
        run=replace(config.run, **{"log_every": 2, "checkpoint_every": 4} | run),
    )


def break_at(patch, step, error):
    """Raise in the middle of a step: after the gradients, before Adam."""
    original = TrainStep._excess

    def broken(self, limit):
        if self.done + 1 == step:
            raise error
        return original(self, limit)

    patch.setattr(TrainStep, "_excess", broken)


def extended(run, steps):
    settings = load_config(run)
    return replace(settings, optim=replace(settings.optim, steps=steps))


def names(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.fixture
def limited(monkeypatch):
    settings = pulses_config(monkeypatch)
    return short(replace(settings, optim=replace(settings.optim, clip_norm=1.0)))


@pytest.mark.parametrize(("step", "error"), [(1, RuntimeError()), (4, KeyboardInterrupt()), (10, KeyboardInterrupt())])
def test_a_run_that_ended_within_a_step_goes_on_as_if_it_had_not(limited, tmp_path, monkeypatch, step, error):
    train(limited, tmp_path / "whole", False)
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(type(error)):
        break_at(patch, step, error)
        torch.manual_seed(99)
        train(limited, run, False)
    torch.rand(17)
    resume(run, False)
    for ours, theirs in zip(weights_of(run).values(), weights_of(tmp_path / "whole").values(), strict=True):
        assert torch.equal(ours, theirs)
    assert [row["step"] for row in read_log(run)] == [2, 4, 6, 8, 10, 12]


def test_a_run_that_ended_before_its_first_checkpoint_can_start_again(limited, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        break_at(patch, 3, RuntimeError())
        train(limited, run, False)
    assert find_checkpoint(run) is None and len(read_log(run)) == 1
    other = replace(limited, run=replace(limited.run, seed=5))
    train(other, run, False)
    train(other, tmp_path / "whole", False)
    for ours, theirs in zip(weights_of(run).values(), weights_of(tmp_path / "whole").values(), strict=True):
        assert torch.equal(ours, theirs)
    assert [row["step"] for row in read_log(run)] == [2, 4, 6, 8, 10, 12]
    with pytest.raises(UserError, match="continue it with --resume"):
        train(other, run, False)
    assert "warning" not in capsys.readouterr().err


def test_a_run_in_training_is_not_trained_twice(limited, tmp_path):
    run = tmp_path / "run"
    train(limited, run, False)
    log = (run / "log.csv").read_bytes()
    with training_lock(run), pytest.raises(UserError, match=f"being trained by process {os.getpid()} on"):
        resume(run, False)
    empty = tmp_path / "new"
    with training_lock(empty, make=True), pytest.raises(UserError, match="being trained"):
        train(limited, empty, False)
    assert (run / "log.csv").read_bytes() == log
    assert os.listdir(empty) == []


def test_a_training_leaves_alone_what_is_not_its_own(limited, tmp_path):
    """Copies made by hand while it trains, and a directory that holds something else."""
    run = tmp_path / "run"
    (run / "checkpoints" / "step-1").mkdir(parents=True)
    with pytest.raises(UserError, match="choose another --out"):
        train(limited, run, False)
    assert [path.name for path in run.rglob("*")] == ["checkpoints", "step-1"]
    shutil.rmtree(run)
    train(limited, run, False)
    for name in ("step-best", "step-keep", "step-100", "step-00000008.bak"):
        shutil.copytree(run / "checkpoints" / "step-00000012", run / "checkpoints" / name)
    resume(run, False, extended(run, 20))
    assert newest_checkpoint(run).step == 20
    assert {"step-best", "step-keep", "step-100", "step-00000008.bak", "step-00000016"} <= set(names(run))


def test_weights_that_are_not_finite_are_never_a_good_checkpoint(limited, tmp_path):
    run = tmp_path / "run"
    settings = short(replace(limited, optim=replace(limited.optim, lr=1e30, clip_norm=None)), 3)
    settings = replace(
        settings, optim=replace(settings.optim, lr=1e30), run=replace(settings.run, log_every=1, checkpoint_every=1)
    )
    with pytest.raises(
        UserError, match=r"(not finite|is nan|is inf).* no checkpoint was written yet: train anew with a lower --lr"
    ):
        train(settings, run, False)
    assert find_checkpoint(run) is None


def test_a_validation_that_is_not_finite_is_never_a_good_checkpoint(limited, tmp_path, monkeypatch):
    run = tmp_path / "run"
    original = Trainer._validate
    monkeypatch.setattr(
        Trainer, "_validate", lambda self: (original(self)[0] if self.done < 8 else float("inf"), original(self)[1])
    )
    with pytest.raises(UserError, match=r"validation error is inf at step 8; the last good checkpoint is .*00000004"):
        train(limited, run, False)
    assert names(run) == ["step-00000004"]


def test_tensorboard_ends_no_training(limited, tmp_path, capsys):
    run = tmp_path / "run"
    with training_lock(run, make=True):
        pass
    train(limited, run, False)
    shutil.rmtree(run / "tensorboard")
    (run / "tensorboard").write_text("in the way")
    resume(run, False, extended(run, 20))
    assert newest_checkpoint(run).step == 20
    assert capsys.readouterr().err.count("warning: cannot write") == 1
    assert (run / "tensorboard").read_text() == "in the way"


@pytest.mark.parametrize("harm", ["directory", "foreign", "byte-order mark", "binary"])
def test_a_log_ends_no_training(limited, tmp_path, monkeypatch, harm):
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        break_at(patch, 7, RuntimeError())
        train(limited, run, False)
    path = run / "log.csv"
    data = path.read_bytes()
    path.unlink()
    if harm == "directory":
        path.mkdir()
    else:
        start = {"foreign": b"time;loss\n", "byte-order mark": b"\xef\xbb\xbf", "binary": b"\x00\xff"}[harm]
        path.write_bytes(start + data)
    resume(run, False)
    assert newest_checkpoint(run).step == 12
    steps = [row["step"] for row in read_log(run)]
    assert steps == ([2, 4, 6, 8, 10, 12] if harm == "byte-order mark" else [6, 8, 10, 12])


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before(limited, tmp_path, monkeypatch, capsys):
    train(limited, tmp_path / "whole", False)
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        break_at(patch, 10, RuntimeError())
        train(limited, run, False)
    state = run / "checkpoints" / "step-00000008" / "state.pt"
    state.write_bytes(state.read_bytes()[:-10])
    resume(run, False)
    warning = capsys.readouterr().err
    assert warning.count("warning") == 1 and "step-00000008 is damaged" in warning and "step-00000004" in warning
    for ours, theirs in zip(weights_of(run).values(), weights_of(tmp_path / "whole").values(), strict=True):
        assert torch.equal(ours, theirs)
    assert checkpoints.load_model(run)


@pytest.mark.parametrize("state", [{}, [], {"step": {}}, {"step": {"optimizer": {"state": {0: {}}}, "scaler": {}}}])
def test_a_state_of_something_else_is_not_resumed(limited, tmp_path, state):
    run = tmp_path / "run"
    train(limited, run, False)
    checkpoints.save_checkpoint(run, 13, checkpoints.load_model(run)[0], state)
    with pytest.raises(UserError, match="is not that of this model"):
        resume(run, False, extended(run, 20))


def test_weights_alone_are_not_resumed(limited, tmp_path):
    run = tmp_path / "run"
    train(limited, run, False)
    checkpoints.save_checkpoint(run, 13, checkpoints.load_model(run)[0])
    with pytest.raises(UserError, match="holds weights only: it can be evaluated, not resumed"):
        resume(run, False, extended(run, 20))
