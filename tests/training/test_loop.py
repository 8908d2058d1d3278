"""The loop on a made data set of smooth pulses: it learns, resumes exactly, and stops cleanly when things go wrong."""

import json
import signal
from dataclasses import replace

import pytest
import torch
from loop_cases import Pulses, pulses_config, stop_at, weights_of
from torch._dynamo.exc import BackendCompilerFailed

from fastsep import signals
from fastsep.errors import UserError
from fastsep.runs.checkpoint import load_model, newest_checkpoint
from fastsep.runs.directory import load_config
from fastsep.runs.log_file import read_log
from fastsep.training.loop import resume, train
from fastsep.training.step import TrainStep


@pytest.fixture
def config(monkeypatch):
    return pulses_config(monkeypatch)


WHOLE_RUN = {"run.json", "config.json", "data.json", "starts.jsonl", "log.csv", "checkpoints", "tensorboard"}


def test_training_learns_and_leaves_a_whole_run(config, tmp_path):
    run = tmp_path / "run"
    train(replace(config, optim=replace(config.optim, steps=300, schedule="one_cycle", lr=1e-2)), run, False)
    rows = read_log(run)
    assert [row["step"] for row in rows] == list(range(10, 301, 10))
    assert rows[-1]["test_mse"] < 0.2 * rows[1]["test_mse"]
    assert rows[-1]["prediction"] < 0.2 * rows[0]["prediction"]
    assert {path.name for path in run.iterdir()} == WHOLE_RUN


@pytest.mark.parametrize("signum", signals.SIGNALS)
def test_a_resumed_run_ends_where_an_unbroken_one_does(config, tmp_path, monkeypatch, signum):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(config, whole, False)
    before = signal.getsignal(signum)
    stop_at(monkeypatch, 27, signum, signal.SIGTERM)
    with pytest.raises(signals.Stopped, match=r"step 27 is saved, continue with .*--resume") as stop:
        train(config, broken, False)
    assert stop.value.status == 128 + signum
    assert signal.getsignal(signum) is before
    assert newest_checkpoint(broken).path.name == "step-00000027"
    resume(broken, False)
    for ours, theirs in zip(weights_of(broken).values(), weights_of(whole).values(), strict=True):
        assert torch.equal(ours, theirs)
    assert [row["step"] for row in read_log(broken)] == [10, 20, 30, 40]


def test_asked_again_later_it_stops_at_once(config, tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "_SAME_REQUEST", 0.0)
    stop_at(monkeypatch, 27, signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(signals.Stopped, match=r"at once; continue from the last checkpoint with .*--resume"):
        train(config, tmp_path / "run", False)
    assert newest_checkpoint(tmp_path / "run").path.name == "step-00000020"


@pytest.mark.parametrize("step", [20, 40])
def test_a_signal_at_a_step_that_is_saved_anyway(config, tmp_path, monkeypatch, step):
    stop_at(monkeypatch, step, signal.SIGTERM)
    with pytest.raises(signals.Stopped, match=f"step {step} is saved"):
        train(config, tmp_path / "run", False)
    assert newest_checkpoint(tmp_path / "run").path.name == f"step-000000{step}"
    assert read_log(tmp_path / "run")[-1]["step"] == step


def test_a_complete_run_is_not_resumed(config, tmp_path):
    train(config, tmp_path / "run", False)
    with pytest.raises(UserError, match="is complete"):
        resume(tmp_path / "run", False)


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(config, tmp_path):
    run = tmp_path / "run"
    train(replace(config, optim=replace(config.optim, steps=20)), run, False)
    settings = run / "config.json"
    changed = json.loads(settings.read_text())
    changed["data"]["spoiled"], changed["optim"]["steps"] = True, 60
    settings.write_text(json.dumps(changed))
    good = weights_of(run)
    with pytest.raises(UserError, match=r"loss is nan at step 30; the last good checkpoint is .*step-00000020"):
        resume(run, False)
    assert newest_checkpoint(run).path.name == "step-00000020"
    assert all(torch.equal(a, b) for a, b in zip(good.values(), weights_of(run).values(), strict=True))


def test_the_same_seed_gives_the_same_weights(config, tmp_path):
    runs = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for run, seed in zip(runs, (0, 0, 1), strict=True):
        train(replace(config, run=replace(config.run, seed=seed)), run, False)
    a, b, c = (weights_of(run) for run in runs)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a if name.endswith("weight"))


def test_a_batch_larger_than_the_data_is_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(UserError, match="lower --batch-size"):
        train(replace(config, optim=replace(config.optim, batch_size=10_000)), tmp_path / "run", False)
    assert not (tmp_path / "run").exists()


def test_batch_norm_on_one_sequence_is_refused_before_anything_is_written(config, tmp_path):
    one = replace(config.optim, batch_size=1, steps=1)
    narrow = {"enc_hidden_size": 2, "dec_hidden_size": 2}

    def images(kind):
        model = replace(config.model, shape=(1, 64, 64), encoder=kind, decoder=kind, **narrow)
        return replace(config, model=model, data=Pulses(image=True), optim=one)

    with pytest.raises(UserError, match=r"batch norm in vgg .* set --batch-size to 2 or more"):
        train(images("vgg"), tmp_path / "run", False)
    assert not (tmp_path / "run").exists()
    train(images("dcgan"), tmp_path / "images", False)  # each of its maps has pixels to take the variance of
    train(replace(config, optim=one), tmp_path / "points", False)
    for name in ("images", "points"):
        assert all(weight.isfinite().all() for weight in weights_of(tmp_path / name).values())


def test_an_empty_shape_is_that_of_the_data(config, tmp_path):
    run = tmp_path / "run"
    train(config, tmp_path / "named", False)
    train(replace(config, model=replace(config.model, shape=())), run, False)
    assert load_config(run).model == config.model
    ours, theirs = weights_of(run), weights_of(tmp_path / "named")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_frames_of_another_shape_are_refused_before_anything_is_written(config, tmp_path, monkeypatch):
    other = replace(config, model=replace(config.model, shape=(1, 8)))
    with pytest.raises(UserError, match=r"frames are 1x9, the model takes 1x8: set --shape 1 9"):
        train(other, tmp_path / "run", False)
    assert not (tmp_path / "run").exists()
    original = Pulses.open

    def uneven(self, split, *spans, **settings):
        return original(replace(self, image=split == "test"), split, *spans, **settings)

    monkeypatch.setattr(Pulses, "open", uneven)
    with pytest.raises(UserError, match="training frames are 1x9, test frames 1x64x64: give data of one size"):
        train(config, tmp_path / "run", False)
    assert not (tmp_path / "run").exists()


def hidden(words):
    """An error that came up while the memory's was handled."""
    error = RuntimeError(words)
    error.__context__ = torch.OutOfMemoryError("CUDA out of memory. Tried")
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "steps of 16 sequences .*lower --batch-size or a higher --accumulate, or free some",
        ),
        (
            hidden("operation failed due to a previous error during capture"),
            "steps of 16 sequences .*CUDA out of memory",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "higher --accumulate, or free some and continue"),
        (BackendCompilerFailed(lambda: None, ValueError("g++ crashed"), None), "compile failed .*--compile off"),
    ],
)
def test_what_a_machine_cannot_do_is_one_line_with_a_remedy(config, tmp_path, monkeypatch, error, words):
    def fail(self, *args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", fail)
        with pytest.raises(UserError, match=words):
            train(config, tmp_path / "run", False)
    resume(tmp_path / "run", False)


def test_a_mistake_of_the_program_keeps_its_traceback(config, tmp_path, monkeypatch):
    def fail(self, *args):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(TrainStep, "__call__", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        train(config, tmp_path / "run", False)


def test_networks_that_memory_cannot_hold_are_refused_before_anything_is_written(config, tmp_path, monkeypatch):
    train(config, tmp_path / "run", False)
    monkeypatch.setattr("fastsep.data.residency.free_bytes", lambda device: 1000)
    with pytest.raises(UserError, match=r"training 0.0 million weights takes .*lower the widths \(--enc-hidden-size"):
        train(config, tmp_path / "other", False)
    assert not (tmp_path / "other").exists()
    with pytest.raises(UserError, match="use a machine with more"):
        load_model(tmp_path / "run")
