"""NCCL on the GPUs there are: a world of one, so that the messages of a captured step are in its graph, and of all."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import torch
from rank_cases import losses_of_steps, mnist, run_training, wave100
from ranks import environment, run_ranks

from fastsep.distributed import joined
from fastsep.runs.checkpoint import load_model
from fastsep.training.loop import train
from fastsep.training.ways import Ways


@contextmanager
def one_process(monkeypatch):
    """A world of one process, whose messages a graph holds all the same."""
    store = torch.distributed.TCPStore(
        "127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60)
    )
    for name, value in environment(0, 1, store.port).items():
        monkeypatch.setenv(name, value)
    with joined(60.0) as world:
        yield world


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("config", [wave100(clip_norm=0.05), mnist(norm_over="all")], ids=["wave100", "mnist"])
def test_a_graph_with_messages_in_it_computes_what_eager_steps_do(config, compile, monkeypatch):
    losses, weights = losses_of_steps(config, 8, "cuda")
    with one_process(monkeypatch) as world:
        assert world.joined
        found, ours = losses_of_steps(config, 8, "cuda", Ways(compile, True))
    for terms, wanted in zip(found, losses, strict=True):
        assert terms == pytest.approx(wanted, rel=1e-9)
    for mine, theirs in zip(ours, weights, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-7)


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
