"""Averaged weights: their definition, that they count, and that an interrupted run keeps them to the last bit."""

from dataclasses import replace

import pytest
import torch
from loop_cases import pulses_config, stop_at, weights_of
from step_cases import CONFIG, EAGER, make_step

from fastsep import signals
from fastsep.config import ModelConfig
from fastsep.errors import UserError
from fastsep.runs.checkpoint import newest_checkpoint
from fastsep.runs.log_file import read_log
from fastsep.training.average import decay_at
from fastsep.training.loop import resume, train
from fastsep.training.trainer import Trainer
from fastsep.training.ways import Ways

CONVOLUTIONAL = ModelConfig(nt_cond=2, offset=2, enc_hidden_size=2, dec_hidden_size=2, res_hidden_size=8)


def averaged(decay, config=CONFIG, **model):
    optim = replace(config.optim, ema=decay)
    return replace(config, optim=optim, model=replace(config.model, **model))


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_decay_climbs_to_its_limit():
    assert [decay_at(step, 0.9) for step in (0, 8, 79, 80, 10**9)] == [0.1, 0.5, 80 / 89, 0.9, 0.9]
    assert decay_at(0, 0.05) == 0.05


@pytest.mark.parametrize("model", [CONFIG.model, CONVOLUTIONAL], ids=["mlp", "batch norm"])
def test_averages_are_those_of_the_weights_after_each_step(model):
    step = make_step(config=averaged(0.3, replace(CONFIG, model=model)))
    expected = snapshot(step.model)
    for number in range(5):
        step(torch.arange(4), 1e-2)
        decay = min(0.3, (1 + number) / (10 + number))
        for name, tensor in step.model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor if tensor.is_floating_point() else tensor
    own = snapshot(step.model)
    with step.scored_weights():
        counted = snapshot(step.model)
        video = torch.rand(2, CONFIG.model.nt_cond, *model.shape)
        forecasts = [step.model.eval().forecast(video, 3)]
    step.model.train()
    assert counted.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(counted[name], tensor, rtol=1e-5, atol=1e-6)
        assert torch.equal(step.model.state_dict()[name], own[name])
    forecasts.append(step.model.eval().forecast(video, 3))
    assert (forecasts[0] - forecasts[1]).abs().max() > 1e-6


def test_training_is_the_same_with_and_without_averages():
    plain, with_averages = make_step(), make_step(config=averaged(0.9))
    for step in (plain, with_averages):
        for _ in range(4):
            step(torch.arange(4), 1e-2)
    for ours, theirs in zip(with_averages.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.fixture
def config(monkeypatch):
    return averaged(0.95, pulses_config(monkeypatch))


def test_a_resumed_run_ends_with_the_averages_of_an_unbroken_one(config, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(config, whole, False)
    stop_at(monkeypatch, 27, signals.SIGNALS[0])
    with pytest.raises(signals.Stopped, match="step 27 is saved"):
        train(config, broken, False)
    resume(broken, False)
    ours, theirs = newest_checkpoint(broken), newest_checkpoint(whole)
    assert ours.step == theirs.step == 40
    own = [checkpoint.state["step"]["weights"] for checkpoint in (ours, theirs)]
    for one, other in ((ours.weights, theirs.weights), own):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not any(torch.equal(ours.weights[name], own[0][name]) for name in ours.weights)


def test_what_is_validated_is_what_the_checkpoint_holds(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, False)
    plain = replace(config, optim=replace(config.optim, ema=None))
    trainer = Trainer(plain, run, False)
    trainer.model.load_state_dict(weights_of(run))
    assert f"{trainer._validate()[0]:.6g}" == f"{read_log(run)[-1]['test_mse']:.6g}"  # as many digits as the log has
    trainer.model.load_state_dict(newest_checkpoint(run).state["step"]["weights"])
    assert trainer._validate()[0] != pytest.approx(read_log(run)[-1]["test_mse"], rel=1e-3)


def test_a_run_neither_gains_nor_loses_its_averages(config, tmp_path, monkeypatch):
    run = tmp_path / "run"
    stop_at(monkeypatch, 5, signals.SIGNALS[0])
    with pytest.raises(signals.Stopped):
        train(config, run, False)
    with pytest.raises(UserError, match="keeps its --ema"):
        resume(run, False, replace(config, optim=replace(config.optim, ema=None), run=replace(config.run, out=run)))
    checkpoint = newest_checkpoint(run)
    del checkpoint.state["step"]["weights"]
    with pytest.raises(UserError, match="is not that of this model"):
        Trainer(config, run, False).restore(checkpoint)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_averages_nothing_is_refused(decay):
    with pytest.raises(UserError, match=r"set --ema to a number from 0 to 0\.999999, or none"):
        averaged(decay)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_a_captured_step_averages_as_one_that_is_not(compile):
    eager, captured = (
        make_step(ways=ways, config=averaged(0.9), device="cuda") for ways in (EAGER, Ways(compile, True))
    )
    for step in (eager, captured):
        for i in range(12):
            step(torch.arange(4, device="cuda") + i % 5, 1e-3 * (i + 1))
    assert captured._replay.recorded
    states = []
    for step in (eager, captured):
        with step.scored_weights():
            states.append(snapshot(step.model))
    for name, ours in states[1].items():
        torch.testing.assert_close(ours, states[0][name], rtol=1e-3, atol=1e-3)
        assert not torch.equal(ours, captured.model.state_dict()[name])
