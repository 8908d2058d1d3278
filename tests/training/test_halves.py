"""Weights that stand ready in bf16: the same training, on a GPU without the casts. Here on a CPU, where it is off."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from step_cases import CONFIG, EAGER, make_step

import fastsep.training.step as module
from fastsep.config import Config, ModelConfig
from fastsep.networks.halves import Halved, Linear, drop_halves
from fastsep.training import ways
from fastsep.training.adam import Adam, total_norm
from fastsep.training.step import TrainStep
from fastsep.training.ways import Ways, keeps_halves
from fastsep.world import ALONE, World

DCGAN = ModelConfig(nt_cond=2, offset=2, enc_hidden_size=2, dec_hidden_size=2, res_hidden_size=8)
SST = ModelConfig(
    shape=(1, 16, 16), encoder="sst", decoder="sst", mixing="concat", code_size_s=4, code_size_t=4, nt_cond=2,
    enc_hidden_size=4, dec_hidden_size=4, res_hidden_size=4, skip=True, offset=0, last_activation="none",
)  # fmt: skip
RESNET = ModelConfig(
    shape=(1, 32, 32), encoder="resnet", decoder="vgg", nt_cond=2, offset=2, enc_hidden_size=2, dec_hidden_size=2,
    res_hidden_size=8,
)  # fmt: skip
CONFIGS = {
    "mlp": CONFIG,
    "mlp concat": replace(CONFIG, model=replace(CONFIG.model, mixing="concat")),
    "clipped": replace(CONFIG, optim=replace(CONFIG.optim, clip_norm=0.2)),
    "dcgan": replace(CONFIG, model=DCGAN),
    "resnet": replace(CONFIG, model=RESNET),
    "sst": replace(CONFIG, model=SST),
}


def both(
    monkeypatch: pytest.MonkeyPatch, config: Config, ways: Ways = EAGER, device: str = "cpu"
) -> tuple[TrainStep, TrainStep]:
    """A step in bf16 without halves and one with them."""
    steps = []
    for keeps in (False, True):
        monkeypatch.setattr(module, "keeps_halves", lambda *arguments, keeps=keeps: keeps)
        steps.append(make_step(torch.bfloat16, ways, config, device))
    return steps[0], steps[1]


def assert_alike(ours: TrainStep, theirs: TrainStep) -> None:
    """Weights, moments, losses and what is written of them."""
    assert ours.read_losses().total == pytest.approx(theirs.read_losses().total, rel=1e-5)
    for (name, one), other in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)
    mine, other = ours.state()["optimizer"], theirs.state()["optimizer"]
    assert mine["state"].keys() == other["state"].keys() and mine["param_groups"] == other["param_groups"]
    for number, moments in mine["state"].items():
        assert {k: v.dtype for k, v in moments.items()} == {k: v.dtype for k, v in other["state"][number].items()}
        assert moments["step"] == other["state"][number]["step"]


@pytest.mark.parametrize("name", CONFIGS)
def test_training_is_the_same_with_halves(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain, halved = both(monkeypatch, CONFIGS[name])
    layers = [layer for layer in halved.model.modules() if isinstance(layer, Halved) and layer.rounded is not None]
    assert layers and not any(p.grad is not None for p in halved.model.parameters())
    for step in (plain, halved):
        step(torch.arange(4), 1e-3)
    assert_alike(halved, plain)
    theirs = dict(plain.model.named_modules())
    excess = getattr(halved.optimizer, "grad_scale", None) or 1.0  # by which PyTorch's Adam divides gradients in place
    for name, layer in halved.model.named_modules():
        if isinstance(layer, Halved) and layer.rounded is not None:
            torch.testing.assert_close(layer.rounded.grad.float() / excess, theirs[name].weight.grad, rtol=1e-6, atol=0)
            assert torch.equal(layer.rounded, layer.weight.bfloat16())
    for number in range(4):  # where a last digit may by now have moved a rounding
        for step in (plain, halved):
            step(torch.arange(4) + number, 1e-3)
    assert halved.read_losses().total == pytest.approx(plain.read_losses().total, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_training_is_the_same_with_halves_in_compiled_steps(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain, halved = both(monkeypatch, CONFIGS[name], Ways(True, False))
    for number in range(3):
        for step in (plain, halved):
            step(torch.arange(4) + number, 1e-3)
    assert halved.read_losses().total == pytest.approx(plain.read_losses().total, rel=1e-3)
    for layer in halved.model.modules():
        if isinstance(layer, Halved) and layer.rounded is not None:
            assert layer.weight.grad is None and layer.rounded.grad.dtype == torch.bfloat16
    counts = [{k: v.item() for k, v in s.model.named_buffers() if "tracked" in k} for s in (plain, halved)]
    assert counts[0] == counts[1] and (name == "mlp" or min(counts[0].values()) >= 3)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_captured_steps_round_what_they_update(monkeypatch: pytest.MonkeyPatch, name: str, compile: bool) -> None:
    plain, halved = both(monkeypatch, CONFIGS[name], Ways(compile, True), "cuda")
    names = [n for n, m in halved.model.named_modules() if isinstance(m, Halved) and m.rounded is not None]
    before = {name: halved.model.get_submodule(name).weight.detach().clone() for name in names}
    for number in range(8):
        for step in (plain, halved):
            step(torch.arange(4, device="cuda") + number % 5, 1e-6)  # small: what rounding moves must not grow
    assert halved._replay.recorded
    assert halved.read_losses().total == pytest.approx(plain.read_losses().total, rel=1e-2)
    moved = [0, 0]
    for name, start in before.items():
        ours, theirs = (step.model.get_submodule(name) for step in (halved, plain))
        # One gradient is so far below Adam's eps that the rate moves nothing.
        for k, weight in enumerate((ours.weight, theirs.weight)):
            moved[k] += not torch.equal(weight, start)
        assert torch.equal(ours.rounded, ours.weight.bfloat16())
        assert halved.optimizer.state[ours.weight]["step"] == 8
    assert moved[0] == moved[1] >= len(before) - 1
    for one, other in zip(halved.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)


def test_no_step_on_a_cpu_looks_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch looks for one, and fails on a Mac, even where it is given no stream to make the current one."""

    def fail(*_: object) -> None:
        raise AssertionError("a stream is made the current one")

    _, step = both(monkeypatch, CONFIG)
    monkeypatch.setattr(torch.cuda, "stream", fail)
    monkeypatch.setattr(torch.cuda, "current_stream", fail)
    step(torch.arange(4), 1e-3)


def test_weights_that_are_frozen_stay_and_those_that_are_shared_stay_together() -> None:
    first, second, frozen = Linear(3, 3), Linear(3, 3), Linear(3, 3)
    second.weight = first.weight
    frozen.requires_grad_(False)
    model = torch.nn.Sequential(first, second, frozen)
    optimizer = Adam(model.parameters(), lr=torch.tensor(1e-2))
    optimizer.keep_halves(model, torch.bfloat16)
    assert first.rounded is second.rounded and frozen.rounded is None
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    assert torch.equal(second.rounded, first.weight.bfloat16())
    drop_halves(model)
    assert first.factor() is first.weight


def test_a_run_goes_on_with_halves_or_without(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = both(monkeypatch, CONFIG)
    for one, other in (steps, steps[::-1]):
        one(torch.arange(4), 1e-2)
        other.model.load_state_dict(one.model.state_dict())
        other.load_state(copy.deepcopy(one.state()), one.done)
        for step in (one, other):
            step.read_losses()
            step(torch.arange(4), 1e-2)
        assert_alike(one, other)


def test_evaluation_computes_with_the_weights_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    _, step = both(monkeypatch, CONFIG)
    step(torch.arange(4), 1e-2)
    (layer, *_) = step.model.decoder.layers
    assert layer.factor() is layer.rounded
    step.model.eval()
    assert layer.factor() is layer.weight
    assert not any("half" in name for name in step.model.state_dict())


def test_halves_are_for_bf16_on_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr("kernels.available", lambda: True)
    monkeypatch.setattr(ways, "has_compiler", lambda device: True)
    assert keeps_halves(gpu, torch.bfloat16, ALONE, 1)
    assert not keeps_halves(torch.device("cpu"), torch.bfloat16, ALONE, 1)
    assert not keeps_halves(gpu, torch.float16, ALONE, 1) and not keeps_halves(gpu, torch.float32, ALONE, 1)
    assert not keeps_halves(gpu, torch.bfloat16, ALONE, 2)
    assert not keeps_halves(gpu, torch.bfloat16, World(rank=1, size=2, joined=True), 1)
    monkeypatch.setattr(ways, "has_compiler", lambda device: False)  # Triton would have none either
    assert not keeps_halves(gpu, torch.bfloat16, ALONE, 1)
    monkeypatch.setattr(ways, "has_compiler", lambda device: True)
    monkeypatch.setattr("kernels.available", lambda: False)
    assert not keeps_halves(gpu, torch.bfloat16, ALONE, 1)


def test_the_norm_of_gradients_in_several_types_is_summed_in_float32() -> None:
    tensors = [torch.randn(1000), torch.randn(333).bfloat16(), torch.randn(50, dtype=torch.float64)]
    exact = torch.cat([tensor.double().flatten() for tensor in tensors]).norm()
    torch.testing.assert_close(total_norm(tensors).double(), exact, rtol=1e-6, atol=0)
