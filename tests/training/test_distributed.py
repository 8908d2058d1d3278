"""Several processes train one model: the same numbers as one process, and one writer."""

import shutil
from dataclasses import replace

import pytest
import torch
from rank_cases import is_quick_to_start, losses_of_steps, mnist, run_training, wave100
from ranks import run_ranks

from fastsep import distributed
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.errors import UserError
from fastsep.machine.precision import resolve_device
from fastsep.runs.checkpoint import load_model, newest_checkpoint
from fastsep.runs.log_file import read_log
from fastsep.training.loop import train
from fastsep.world import World


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small file of waves, which opens faster than waves are simulated."""
    return generate(tmp_path_factory.mktemp("waves"), WaveSettings(10, 80), torch.device("cpu"))


def relative(ours, theirs):
    ours, theirs = torch.tensor(ours, dtype=torch.float64), torch.tensor(theirs, dtype=torch.float64)
    return ((ours - theirs).abs() / theirs.abs()).max().item()


def test_ranks_of_these_tests_are_quick_to_start():
    assert run_ranks(1, is_quick_to_start) == [True]


@pytest.mark.parametrize(
    ("size", "clip_norm"), [(2, 0.05), pytest.param(4, None, marks=pytest.mark.slow)], ids=["two, clipped", "four"]
)
def test_losses_do_not_depend_on_the_number_of_processes(data, size, clip_norm):
    config = wave100(data, clip_norm=clip_norm)
    alone, _ = losses_of_steps(config, 30)
    results = run_ranks(size, losses_of_steps, config, 30)
    for terms, weights in results:
        assert relative(terms, alone) < 1e-12
        assert terms == results[0][0]
        assert all(map(torch.equal, weights, results[0][1]))


def test_shared_norms_give_what_one_process_does_and_others_do_not():
    alone, _ = losses_of_steps(mnist(), 3)
    (shared, _), _ = run_ranks(2, losses_of_steps, mnist(norm_over="all"), 3)
    (own, _), _ = run_ranks(2, losses_of_steps, mnist(norm_over="rank"), 3)
    assert relative(shared, alone) < 1e-10
    assert relative(own, alone) > 1e-4


@pytest.mark.slow
def test_micro_batches_of_shared_norms_hold_the_same_rows():
    config = mnist(norm_over="all", accumulate=2)
    alone, _ = losses_of_steps(config, 3)
    (shared, _), _ = run_ranks(2, losses_of_steps, config, 3)
    assert relative(shared, alone) < 1e-10


def test_two_processes_leave_the_run_that_one_leaves(data, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    config = wave100(data)
    train(config, one, False)
    assert run_ranks(2, run_training, config, two) == [None, None]
    assert sorted(path.name for path in two.rglob("*") if "events" not in path.name) == sorted(
        path.name for path in one.rglob("*") if "events" not in path.name
    )
    for ours, theirs in zip(read_log(two), read_log(one), strict=True):
        for name in ("step", "epoch", "lr"):
            assert ours[name] == theirs[name]
        for name in ("ae", "prediction", "total", "test_mse"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4) or ours[name] == theirs[name] == ""
    assert len(list((two / "tensorboard").iterdir())) == 1
    assert not (two / ".lock").exists()


@pytest.mark.parametrize(
    ("before", "after", "ema"),
    [
        (2, 1, None),
        pytest.param(1, 2, None, marks=pytest.mark.slow),
        pytest.param(4, 2, 0.9, marks=pytest.mark.slow),
        pytest.param(4, 1, 0.9, marks=pytest.mark.slow),
    ],
    ids=["two, then one", "one, then two", "four, then two, averaged", "four, then one, averaged"],
)
def test_a_run_goes_on_with_another_number_of_processes(data, tmp_path, before, after, ema):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    config = wave100(data, ema=ema)
    assert run_ranks(before, run_training, config, whole) == [None] * before
    first = replace(config, optim=replace(config.optim, steps=7))
    rest = replace(config, run=replace(config.run, out=broken))
    assert run_ranks(before, run_training, first, broken) == [None] * before
    assert run_ranks(after, run_training, rest, broken, True) == [None] * after
    for ours, theirs in zip(*(load_model(run)[0].state_dict().values() for run in (broken, whole)), strict=True):
        assert (ours - theirs).norm() <= 5e-5 * theirs.norm()  # the last step alone moves each by 1e-3 and more


@pytest.mark.parametrize("settled", [True, False], ids=["with settings", "killed before its settings were there"])
def test_what_torchrun_starts_anew_goes_on_with_its_run(data, tmp_path, monkeypatch, settled):
    monkeypatch.setattr(distributed, "_world", World(agents=frozenset({"here 17 4711"}), restarts=1))
    run, config = tmp_path / "run", wave100(data)
    train(replace(config, optim=replace(config.optim, steps=4)), run, False)
    if not settled:
        shutil.rmtree(run / "checkpoints")
        (run / "config.json").unlink()
    train(config, run, False)  # a run that is complete, too, as where scoring failed
    assert newest_checkpoint(run).step == (4 if settled else 12)
    monkeypatch.setattr(distributed, "_world", World(agents=frozenset({"here 18 4712"}), restarts=1))
    with pytest.raises(UserError, match="already holds a run"):
        train(config, run, False)


@pytest.mark.parametrize(("batch", "size", "sizes"), [(128, 3, "126 or 129"), (7, 8, "8,"), (100, 64, "64 or 128")])
def test_a_batch_that_cannot_be_divided_names_the_nearest_that_can(batch, size, sizes):
    with pytest.raises(UserError, match=f"--batch-size to {sizes}"):
        World(size=size).share(batch)


@pytest.mark.parametrize(
    ("rank", "gpus", "name", "message"),
    [
        (2, 2, "auto", "4 processes were started on a machine with 2 CUDA devices: start 2"),
        (1, 4, "cuda:0", "4 processes cannot share cuda:0: use --device cuda"),
        (1, 4, "cuda", None),
        (1, 4, "cuda:1", None),
    ],
)
def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch, rank, gpus, name, message):
    monkeypatch.setattr(distributed, "_world", World(rank, 4, rank, 4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if message is None:
        assert resolve_device(name).type == "cuda"
        return
    with pytest.raises(UserError, match=message):
        resolve_device(name)


def test_ranks_take_the_rows_of_one_order():
    order = torch.arange(24)
    parts = [World(rank, 4).rows(order, 8).view(3, 2) for rank in range(4)]
    assert torch.equal(torch.cat(parts, 1).flatten(), order)
