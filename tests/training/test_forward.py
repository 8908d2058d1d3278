"""The pieces of a forward pass make the objective, in turn and beside each other."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from network_cases import CONFIGS
from step_cases import CONFIG, make_step
from torch import Tensor

from fastsep.config import ObjectiveConfig
from fastsep.model import SeparableModel
from fastsep.objective import Cells, objective
from fastsep.training.forward import Forward
from fastsep.training.step import TrainStep
from fastsep.training.ways import Ways
from fastsep.world import World


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_pieces_make_the_objective(kind: str) -> None:
    config, settings = CONFIGS[kind], ObjectiveConfig(nt_pred=3, lamb_ae=2.0, lamb_s=3.0, lamb_pred=0.5, lamb_t=0.1)
    torch.manual_seed(0)
    model = SeparableModel(config).double().train()
    batch = torch.rand(3, 5, *config.shape, dtype=torch.float64), torch.tensor(4)
    forward = Forward(model, settings, torch.float64)
    found = [form(*batch) for form in (forward, forward.plain)] + [objective(model, *batch, settings)]
    for terms in found[1:]:
        assert torch.equal(torch.stack(found[0]), torch.stack(terms))


def test_cells_that_do_not_count_are_left_out() -> None:
    torch.manual_seed(0)
    config = CONFIGS["mlp"]
    model, video, end = SeparableModel(config), torch.rand(3, 4, *config.shape), torch.tensor(3)
    mask = torch.arange(config.shape[-1]) % 3 > 0
    other = torch.where(mask, video, video / 2)
    for cells, alike in ((Cells.of(mask), True), (None, False)):
        forward = Forward(model, ObjectiveConfig(nt_pred=2), torch.float32, cells)
        with torch.no_grad():  # S and T of the same frames: nothing but the targets may differ
            networks = forward._encode_static(video), forward._roll_out(video, end)
            totals = [forward._finish(*networks, frames, end).total for frames in (video, other)]
        assert torch.equal(*totals) == alike


LARGE = {
    "mlp": replace(CONFIG, model=replace(CONFIG.model, enc_hidden_size=512, dec_hidden_size=512, res_hidden_size=512)),
    "dcgan": replace(CONFIG, model=replace(CONFIGS["dcgan"], enc_hidden_size=64, dec_hidden_size=64)),
    "resnet": replace(CONFIG, model=replace(CONFIGS["resnet"], dec_hidden_size=64)),
    "sst": replace(CONFIG, model=replace(CONFIGS["sst_skip"], shape=(1, 64, 64), sst_filters=32)),
    "clipped": replace(
        CONFIG,
        model=replace(CONFIGS["dcgan"], enc_hidden_size=64, dec_hidden_size=64),
        optim=replace(CONFIG.optim, clip_norm=1e-3),
    ),
}
"""Wide enough that kernels take as long as their launches."""


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("kind", LARGE)
def test_graphs_compute_the_same_beside_each_other(kind: str, compile: bool, dtype: torch.dtype) -> None:
    config = replace(LARGE[kind], optim=replace(LARGE[kind].optim, batch_size=32))
    found = []
    for beside in (True, False):
        step = make_step(dtype, Ways(compile, True), config, "cuda")
        assert step._forward.beside is not None
        assert bool(step.optimizer._aside & step.optimizer.halves.keys()) == (dtype == torch.bfloat16)
        # TF32 would round another way, and a derivative change its branch, for a last digit of a sum in another order.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with exact, nullcontext() if beside else step.in_turn():
            found.append(take(step))
    for one, other in zip(*found, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def take(step: TrainStep) -> list[list[Tensor]]:
    """Gradients of some steps, the last ones replays of a graph, and the weights in the end."""
    found = []
    for _ in range(8):
        step(torch.arange(32, device="cuda") % 20, 1e-6)
        found.append([grad.to(torch.float32, copy=True) for grad in step.optimizer.gradients()])
    assert step._replay.recorded
    return [*found, [weight.detach().clone() for weight in step.model.parameters()]]


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_graphs_are_recorded_anew_where_nothing_runs_beside_any_more(compile: bool) -> None:
    eager, captured = (make_step(ways=ways, device="cuda") for ways in (Ways(compile, False), Ways(compile, True)))
    for where in (nullcontext, captured.in_turn, nullcontext):
        with where():
            assert not captured._replay.recorded
            for _ in range(6):
                for step in (eager, captured):
                    step(torch.arange(4, device="cuda"), 1e-3)
            assert captured._replay.recorded
    for ours, theirs in zip(captured.model.parameters(), eager.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
def test_some_steps_have_nothing_to_run_beside() -> None:
    """Processes that share a batch talk in an order that is the same for all; without S there is nothing to compute."""
    step = make_step(ways=Ways(False, True), device="cuda")
    assert step._forward.beside is not None
    world = World(rank=0, size=2, joined=True)
    joined = TrainStep(step.model, step.feed.windows, CONFIG, torch.float32, Ways(False, True), world)
    assert joined._forward.beside is None
    alone = replace(CONFIG, model=replace(CONFIG.model, no_s=True))
    assert make_step(ways=Ways(False, True), config=alone, device="cuda")._forward.beside is None
