"""Each piece of a step is one graph for the compiler, whatever the network, and asks the ops for their choices."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from network_cases import CONFIGS, NARROW

from fastsep.config import Config, ObjectiveConfig, OptimConfig
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.model import SeparableModel
from fastsep.training.forward import Forward
from fastsep.training.step import TrainStep
from fastsep.training.ways import Ways
from kernels import choose

SST = replace(
    CONFIGS["dcgan"], encoder="sst", decoder="sst", skip=True, last_activation="none", offset=0, res_hidden_size=4
)


@pytest.mark.parametrize(
    "kind", ["dcgan", *(pytest.param(k, marks=pytest.mark.slow) for k in ("vgg32_skip", "vgg64", "resnet", "sst"))]
)
def test_a_piece_traces_as_one_graph(kind: str) -> None:
    model = SST if kind == "sst" else CONFIGS[kind]
    config = Config(data=TaxiBJ(), model=model, objective=ObjectiveConfig(nt_pred=2), optim=OptimConfig(batch_size=2))
    torch.manual_seed(0)
    frames = torch.rand(2, 6, *model.shape)
    windows = TensorWindows(frames, all_starts(2, 6, config.window), config.window)
    step = TrainStep(SeparableModel(model).lay_out().train(), windows, config, torch.bfloat16, Ways(False, False))
    asked = []
    forward = Forward(step.model, config.objective, torch.bfloat16)
    whole = partial(torch.compile, backend="aot_eager", fullgraph=True, dynamic=False)
    forward.pieces = tuple(map(whole, forward.pieces))
    video, end = windows.batch(torch.arange(2)), torch.tensor(NARROW["nt_cond"])
    results = []
    for form in (forward.plain, forward):
        with choose.asked_for() as cases:
            loss = form(video, end).total
        loss.backward()
        results.append((loss.detach(), [p.grad for p in step.model.parameters() if p.grad is not None]))
        step.model.zero_grad(set_to_none=True)
        asked.append(list(cases))
    assert asked[0] == asked[1] == step.cases()
    torch.testing.assert_close(*(loss for loss, _ in results), rtol=1e-3, atol=0)
    # In bf16 the two round in other places.
    for ours, theirs in zip(*(grads for _, grads in results), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.05 * theirs.abs().max().item())
