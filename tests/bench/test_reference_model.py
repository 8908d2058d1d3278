"""The naive reference against the golden values: what every comparison in bench/ rests on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from bench.reference.model import ReferenceModel, ReferenceStep, compile_networks, reference_objective
from fastsep.config import ModelConfig, ObjectiveConfig

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "model.json").read_text())
NAMES = {"encoderSST": "sst", "decoderSST": "sst"}
LARGE = {"sst", "sst_skip"}  # full-width networks, whatever the case says
CASES = [pytest.param(c, marks=pytest.mark.slow) if c in LARGE else c for c in GOLDEN["cases"]]


def settings(case: dict) -> tuple[ModelConfig, ObjectiveConfig]:
    c = case["config"]
    model = ModelConfig(
        shape=tuple(c["shape"]), encoder=NAMES.get(c["enc"], c["enc"]), decoder=NAMES.get(c["dec"], c["dec"]),
        skip=c["skip"], mixing=c["mixing"], no_s=c["no_s"], nt_cond=c["nt_cond"], offset=c["offset"],
        code_size_s=c["cs"], code_size_t=c["ct"], enc_hidden_size=c["eh"], enc_n_layers=c["el"],
        dec_hidden_size=c["dh"], dec_n_layers=c["dl"], n_blocks=c["n_blocks"], res_hidden_size=c["res_hidden"],
        last_activation=c["act"] or "none",
    )  # fmt: skip
    weights = {name: c[name] for name in ("nt_pred", "lamb_ae", "lamb_s", "lamb_t", "lamb_pred")}
    return model, ObjectiveConfig(**weights)


def golden_model(case: dict, config: ModelConfig) -> ReferenceModel:
    """A float64 model with the weights of the recipe, which go by number."""
    model = ReferenceModel(config).double()
    parameters = list(model.parameters())
    assert [list(p.shape) for p in parameters] == [row["shape"] for row in case["parameters"]]
    for k, (parameter, row) in enumerate(zip(parameters, case["parameters"], strict=True)):
        shape = row["shape"]
        z = np.random.RandomState(100000 * (GOLDEN["seed"] + 1) + k).standard_normal(shape)
        if len(shape) > 1:
            value = z * np.sqrt(2 / (z.size / shape[0]))
        else:
            value = 1 + 0.1 * z if row["name"].endswith("weight") else 0.1 * z
        parameter.data = torch.as_tensor(value)
    return model


def golden_video(case: dict) -> torch.Tensor:
    c = case["config"]
    shape = (GOLDEN["batch"], c["nt_cond"] + c["nt_pred"], *c["shape"])
    return torch.as_tensor(np.random.RandomState(777 + GOLDEN["seed"]).uniform(size=shape))


def assert_sampled(tensor: torch.Tensor, golden: dict, rel: float) -> None:
    tensor = tensor.detach()
    assert tensor.numel() == golden["shape_numel"]
    assert tensor.norm().item() == pytest.approx(golden["l2"], rel=rel)
    values = tensor.flatten()[golden["index"]]
    torch.testing.assert_close(values, torch.tensor(golden["value"], dtype=values.dtype), rtol=rel, atol=rel)


@pytest.mark.parametrize("name", CASES)
def test_reference_is_the_published_model(name: str) -> None:
    case = GOLDEN["cases"][name]
    config, objective = settings(case)
    model, video, end = golden_model(case, config), golden_video(case), torch.tensor(case["t_random"])

    losses = reference_objective(model, video, end, objective)
    for ours, theirs in (
        ("ae", "ae"), ("invariance", "s_invariance"), ("prediction", "prediction"), ("total", "total"),
        ("regularisation", "t_regularisation"),
    ):  # fmt: skip
        assert getattr(losses, ours).item() == pytest.approx(case["losses"][theirs], rel=1e-9), ours
    assert_sampled(losses.forecast, case["forecast"], 1e-9)

    buffers = [b for b in model.buffers()]
    assert len(buffers) == len(case["buffers_after_first_forward"])
    for buffer, golden in zip(buffers, case["buffers_after_first_forward"], strict=True):
        assert buffer.double().norm().item() == pytest.approx(golden["l2"], rel=1e-9, abs=1e-12), golden["name"]

    losses.total.backward()
    for k, (parameter, row) in enumerate(zip(model.parameters(), case["parameters"], strict=True)):
        if parameter.grad is None:
            assert not row["grad_l2"]
            continue
        z = torch.as_tensor(np.random.RandomState(500000 + k).standard_normal(row["shape"]))
        assert (parameter.grad * z).sum().item() == pytest.approx(row["grad_dot"], rel=1e-8, abs=1e-9), row["name"]


@pytest.mark.parametrize("name", ["wave", "wave100", "mnist", "taxibj"])
def test_reference_step_follows_the_published_training(name: str) -> None:
    case = GOLDEN["cases"][name]
    c = case["config"]
    config, objective = settings(case)
    model, video, end = golden_model(case, config), golden_video(case), torch.tensor(case["t_random"])

    step = ReferenceStep(model, objective, c["lr"], (c["beta1"], c["beta2"]))
    totals = [step(video, end).item() for _ in range(3)]
    totals.append(reference_objective(model, video, end, objective).total.item())
    assert totals == pytest.approx(case["totals"], rel=1e-9)

    with torch.no_grad():
        forecast = model.eval().generate(video[:, : c["nt_cond"]], c["nt_cond"] + 2 * c["nt_pred"])
    assert_sampled(forecast, case["eval_forecast"], 1e-6)


def test_compiled_networks_train_as_published() -> None:
    case = GOLDEN["cases"]["mnist_skip"]
    c = case["config"]
    config, objective = settings(case)
    model, video, end = golden_model(case, config), golden_video(case), torch.tensor(case["t_random"])

    torch.compiler.reset()
    compiler = CompileCounterWithBackend("aot_eager")
    compile_networks(model, compiler)
    step = ReferenceStep(model, objective, c["lr"], (c["beta1"], c["beta2"]))
    totals = [step(video, end).item() for _ in range(len(case["totals"]))]
    assert totals == pytest.approx(case["totals"], rel=1e-9)
    assert 4 <= compiler.frame_count <= 6  # not once a frame: only the encoders see windows of several strides
