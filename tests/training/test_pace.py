"""Batch and steps that a run leaves open."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastsep.config import Config, ModelConfig, ObjectiveConfig, OptimConfig
from fastsep.data.frames.settings import Frames
from fastsep.model import SeparableModel
from fastsep.objective import objective
from fastsep.training.pace import largest_batch, sequence_bytes, settle_pace

CPU, ANOTHER = torch.device("cpu"), torch.device("meta")  # which stands in for a GPU
OPEN = OptimConfig(batch_size=None, epochs=None, steps=None)
MLP = ModelConfig(shape=(1, 7), encoder="mlp", decoder="mlp", nt_cond=2, offset=2)
DCGAN = ModelConfig(shape=(1, 16, 16), nt_cond=2, offset=2, enc_hidden_size=4, dec_hidden_size=4)


def config(model: ModelConfig = MLP, optim: OptimConfig = OPEN) -> Config:
    return Config(data=Frames(), model=model, objective=ObjectiveConfig(nt_pred=3), optim=optim)


@pytest.mark.parametrize(
    ("windows", "size"), [(1, 1), (2, 2), (7, 4), (8, 8), (100, 8), (127, 8), (128, 16), (1000, 64), (10**6, 128)]
)
def test_batches_leave_eight_to_an_epoch(windows, size):
    assert largest_batch(windows, 1, CPU) == size


def test_batches_fit_half_of_the_free_memory(monkeypatch):
    monkeypatch.setattr("fastsep.data.residency.free_bytes", lambda device: 4000)
    assert largest_batch(10**6, 100, CPU) == 16
    assert largest_batch(10**6, 10**6, CPU) == 2  # or there is no batch norm


@pytest.mark.parametrize(("windows", "steps"), [(8, 1500), (128 * 60, 1500), (128 * 100, 2500), (128 * 10**4, 20_000)])
def test_steps_are_25_passes_within_bounds(windows, steps):
    optim, line = settle_pace(config(optim=replace(OPEN, batch_size=min(windows, 128))), windows, CPU)
    assert optim.steps == steps
    assert f"{steps:,} steps" in line and "--batch-size" not in line


@pytest.mark.parametrize(
    ("model", "device", "size", "passes"), [(DCGAN, CPU, 16, 3), (DCGAN, ANOTHER, 128, 25), (MLP, CPU, 128, 25)]
)
def test_convolutions_on_a_cpu_get_small_batches_and_few_passes(monkeypatch, model, device, size, passes):
    monkeypatch.setattr("fastsep.training.pace.sequence_bytes", lambda config, device: 1)
    windows = 128 * 100
    optim, _ = settle_pace(config(model), windows, device)
    assert (optim.batch_size, optim.steps) == (size, passes * windows // size)


def test_what_is_given_stays():
    given = OptimConfig(batch_size=4, epochs=3)
    assert settle_pace(config(optim=given), 1000, CPU) == (given, "")


@pytest.mark.parametrize(("accumulate", "processes"), [(3, 1), (1, 3), (2, 4)])
def test_batches_can_be_shared(accumulate, processes):
    optim, _ = settle_pace(config(optim=replace(OPEN, accumulate=accumulate)), 1000, CPU, processes)
    assert optim.batch_size % (accumulate * processes) == 0 < optim.batch_size <= 64


@pytest.mark.parametrize("model", [MLP, DCGAN], ids=["mlp", "dcgan"])
def test_memory_is_what_a_forward_pass_keeps(model):
    """Counted on tensors that are there, without those that a step needs once."""

    def kept_bytes(batch: int) -> int:
        kept = {}
        network = SeparableModel(model)

        def pack(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            objective(network, torch.rand(batch, 5, *model.shape), torch.tensor(3), ObjectiveConfig(nt_pred=3))
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())

    assert sequence_bytes(config(model), CPU) == pytest.approx(kept_bytes(12) - kept_bytes(10), rel=0.05)
