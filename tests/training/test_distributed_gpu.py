"""NCCL on the GPUs there are: a world of one, so that the messages of a captured step are in its graph, and of all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import torch
from rank_cases import mnist, run_training, wave100
from ranks import environment, run_ranks
from step_cases import apart

from fastsep.distributed import joined
from fastsep.model import SeparableModel
from fastsep.training.checkpoint import load_model
from fastsep.training.loop import train
from fastsep.training.step import TrainStep, Ways
from fastsep.world import ALONE


@pytest.fixture
def one(monkeypatch):
    """A world of one process."""
    store = torch.distributed.TCPStore(
        "127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60)
    )
    for name, value in environment(0, 1, store.port).items():
        monkeypatch.setenv(name, value)
    with joined(60.0) as world:
        yield world


def train_on_gpu(config, ways, world):
    """The loss terms of eight steps and the weights after them, and the step."""
    torch.manual_seed(0)
    device = torch.device("cuda")
    model = SeparableModel(config.model).to(device).lay_out()
    windows = config.data.open("train", config.model.nt_cond, config.objective.nt_pred, device)
    step = TrainStep(model, windows, config, torch.float32, ways, world)
    for number in range(8):
        step(torch.arange(8, device=device) + number, 1e-3)
    return step.read_losses(), [parameter.detach().clone() for parameter in model.parameters()], step


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("config", [wave100(clip_norm=0.05), mnist(norm_over="all")], ids=["wave100", "mnist"])
def test_a_graph_with_messages_in_it_computes_what_eager_steps_do(one, config, compile):
    torch.manual_seed(0)
    start = SeparableModel(config.model)
    eager, weights, _ = train_on_gpu(config, Ways(False, False), ALONE)
    terms, ours, step = train_on_gpu(config, Ways(compile, True), one)
    assert step._graph is not None and len(step._buckets._buckets) >= 1
    assert terms.total == pytest.approx(eager.total, rel=1e-3)
    assert apart(ours, weights, start.parameters()) < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_all_gpus_train_what_one_does(tmp_path):
    config = wave100(steps=12, batch_size=8 * torch.cuda.device_count())
    config = replace(config, run=replace(config.run, device="cuda"))
    train(config, tmp_path / "one", False)
    results = run_ranks(torch.cuda.device_count(), run_training, config, tmp_path / "all")
    assert not any(results)
    pairs = zip(*(load_model(tmp_path / name)[0].state_dict().values() for name in ("one", "all")), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=2e-3)
