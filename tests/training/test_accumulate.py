"""Micro-batches: the large batch's step to rounding, with the memory of a small one."""

from dataclasses import replace

import pytest
import torch
from rank_cases import losses_of_steps, wave100
from ranks import run_ranks
from step_cases import CONFIG, EAGER, make_step
from torch.autograd.graph import saved_tensors_hooks

from fastsep.config import ModelConfig, OptimConfig
from fastsep.errors import UserError
from fastsep.training.ways import Ways

INDEX = torch.tensor([0, 5, 9, 11, 3, 2])
CONVOLUTIONAL = ModelConfig(nt_cond=2, offset=2, enc_hidden_size=2, dec_hidden_size=2, res_hidden_size=8)


def split(parts, batch=6, config=CONFIG, **optim):
    return replace(config, optim=replace(config.optim, batch_size=batch, accumulate=parts, **optim))


def in_double(step):
    step.model.double()
    step.feed.windows.frames = step.feed.windows.frames.double()
    return step


def run(step, steps=4, index=INDEX):
    for number in range(steps):
        step((index + number).to(step.device) % 12, 1e-2)
    return step.read_losses()


@pytest.mark.parametrize(
    ("optim", "tolerance"),
    [({}, 1e-9), ({"ema": 0.9}, 1e-9), ({"clip_norm": 0.2}, 1e-6)],  # Adam takes the excess in float32
    ids=["plain", "averaged", "clipped"],
)
@pytest.mark.parametrize("parts", [2, 6])
def test_micro_batches_make_the_step_of_the_large_batch(parts, optim, tolerance):
    steps = [in_double(make_step(torch.float64, config=split(k, **optim))) for k in (1, parts)]
    losses = [run(step) for step in steps]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)  # sums of losses are kept in float32
    for ours, theirs in zip(steps[1].model.parameters(), steps[0].model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_ranks_split_their_rows_too():
    whole, _ = losses_of_steps(wave100(batch_size=8), 5)
    for terms, _ in run_ranks(2, losses_of_steps, wave100(batch_size=8, accumulate=2), 5):
        for ours, theirs in zip(terms, whole, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-10)


def test_the_loss_scale_is_no_part_of_it():
    exact, scaled = (make_step(dtype, config=split(3, clip_norm=0.05)) for dtype in (torch.float32, torch.float16))
    for step in (exact, scaled):
        run(step, 8)
    moments = [[state["exp_avg"] for state in step.optimizer.state.values()] for step in (exact, scaled)]
    lengths = [torch.nn.utils.get_total_norm(tensors).item() for tensors in moments]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.05)


def test_batch_norm_sees_micro_batches():
    steps = [make_step(config=split(k, config=replace(CONFIG, model=CONVOLUTIONAL))) for k in (1, 2)]
    losses = [run(step, 1) for step in steps]
    assert losses[1].prediction == pytest.approx(losses[0].prediction, rel=0.1)
    assert losses[1].prediction != losses[0].prediction
    counts = [dict(step.model.named_buffers())["encoder_t.stages.1.norm.num_batches_tracked"] for step in steps]
    assert counts[1] == 2 * counts[0] > 0


def test_kernels_are_chosen_for_micro_batches():
    config = replace(CONFIG, model=CONVOLUTIONAL)
    assert make_step(config=split(3, config=config)).cases() == make_step(config=split(1, 2, config)).cases()


def test_what_backward_keeps_shrinks_with_the_micro_batch():
    def kept(parts):
        step = make_step(config=split(parts, batch=120))
        live, peak = 0, 0

        def pack(tensor):
            nonlocal live, peak
            live += tensor.numel()
            peak = max(peak, live)
            return tensor

        def unpack(tensor):
            nonlocal live
            live -= tensor.numel()
            return tensor

        with saved_tensors_hooks(pack, unpack):
            run(step, 1, torch.arange(120))
        return peak

    assert kept(10) < kept(1) / 4


@pytest.mark.parametrize(
    ("batch", "parts", "words"),
    [
        (128, 3, r"128 sequences .* 3 equal micro-batches: set --batch-size to 126 or 129, or --accumulate to 2 or 4"),
        (7, 6, r"--batch-size to 6 or 12, or --accumulate to 1 or 7"),
        (4, 5, r"--batch-size to 5, or --accumulate to 4$"),
        (1, 1000, r"--batch-size to 1000, or --accumulate to 1$"),
    ],
)
def test_what_cannot_be_split_is_refused_with_what_can(batch, parts, words):
    with pytest.raises(UserError, match=words):
        OptimConfig(batch_size=batch, accumulate=parts)


@pytest.mark.slow
def test_compiled_once_for_all_micro_batches():
    torch._dynamo.utils.counters.clear()
    eager, compiled = (make_step(ways=ways, config=split(3)) for ways in (EAGER, Ways(True, False)))
    losses = [run(step, 3) for step in (eager, compiled)]
    assert losses[1].total == pytest.approx(losses[0].total, rel=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == len(compiled._forward.pieces)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_captured_micro_batches_are_those_that_are_not(compile):
    whole = in_double(make_step(torch.float64, config=split(1), device="cuda"))
    captured = in_double(make_step(torch.float64, Ways(compile, True), split(3), "cuda"))
    losses = [run(step, 12) for step in (whole, captured)]
    assert captured._replay.recorded
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for ours, theirs in zip(captured.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("ways", [EAGER, Ways(False, True)])
def test_memory_falls(ways):
    def peak(parts):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run(make_step(ways=ways, config=split(parts, 240_000), device="cuda"), 5, torch.arange(240_000))
        return torch.cuda.max_memory_allocated() - before

    assert peak(10) < 0.5 * peak(1)
