import copy
from dataclasses import replace

import pytest
import torch
from step_cases import CONFIG, EAGER, make_step

from fastsep.config import ModelConfig
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.windows import TensorWindows
from fastsep.errors import UserError
from fastsep.machine.precision import resolve_device, resolve_precision
from fastsep.model import SeparableModel
from fastsep.objective import objective, window_ends
from fastsep.training import draws
from fastsep.training.step import TrainStep
from fastsep.training.ways import Ways, resolve_ways
from fastsep.world import World


def clipped(norm):
    return replace(CONFIG, optim=replace(CONFIG.optim, clip_norm=norm))


@pytest.mark.parametrize(("config", "tolerance"), [(CONFIG, 1e-6), (clipped(0.2), 1e-4)], ids=["published", "clipped"])
def test_a_step_is_adam_on_the_objective(config, tolerance):
    norm = config.optim.clip_norm
    step = make_step(config=config)
    oracle = SeparableModel(config.model)
    oracle.load_state_dict(step.model.state_dict())
    optimizer = torch.optim.Adam(oracle.parameters(), lr=1e-2, betas=(0.9, 0.99))
    index = torch.tensor([0, 5, 9, 11])
    totals = []
    for number in range(3):
        end = torch.tensor(draws.integer(0, number, "window", *window_ends(config.model, config.objective)))
        terms = objective(oracle, step.feed.windows.batch(index), end, config.objective)
        optimizer.zero_grad()
        terms.total.backward()
        if norm is not None:
            assert torch.nn.utils.clip_grad_norm_(oracle.parameters(), norm) > 2 * norm
        optimizer.step()
        totals.append(terms.total.item())
    for _ in range(3):
        step(index, 1e-2)
    assert step.read_losses().total == pytest.approx(sum(totals) / 3, rel=1e-5)
    for ours, theirs in zip(step.model.parameters(), oracle.parameters(), strict=True):
        # Not clipped, weights end 1e-2 away; what rounding leaves of a gradient near 0 is divided differently, too.
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=tolerance)


def test_cells_that_do_not_count_teach_nothing():
    step = make_step(masked=True)
    before = [p.clone() for p in step.model.decoder.parameters()][-1]  # (9,), the bias of each cell
    step(torch.arange(4), 1e-2)
    moved = step.model.decoder.parameters()
    assert ([p for p in moved][-1] != before).equal(step.feed.windows.mask)


def test_the_rate_can_change_every_step():
    step = make_step()
    before = [p.clone() for p in step.model.parameters()]
    step(torch.arange(4), 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True))
    step(torch.arange(4), 1e-2)
    assert not any(torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True))


def test_a_gradient_within_the_limit_is_left_alone():
    plain, limited = make_step(), make_step(config=clipped(1e6))
    for step in (plain, limited):
        for _ in range(3):
            step(torch.arange(4), 1e-2)
    for ours, theirs in zip(limited.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_limit_is_that_of_the_unscaled_gradient():
    exact, scaled = (make_step(dtype, config=clipped(0.05)) for dtype in (torch.float32, torch.float16))
    assert scaled.scaler.is_enabled()
    for step in (exact, scaled):
        for _ in range(8):
            step(torch.arange(4), 1e-2)
    assert scaled.read_losses().total == pytest.approx(exact.read_losses().total, rel=0.01)
    moments = [[state["exp_avg"] for state in step.optimizer.state.values()] for step in (exact, scaled)]
    lengths = [torch.nn.utils.get_total_norm(tensors).item() for tensors in moments]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.05)


def on_host(step, ways=EAGER):
    """The step with windows that are fetched from the host before it."""
    windows = step.feed.windows
    fetched = TensorWindows(windows.frames.cpu(), windows.starts.cpu(), windows.length, device=step.device)
    fetched.resident = False  # on a CPU, too
    return TrainStep(step.model, fetched, CONFIG, step.dtype, ways)


def test_windows_that_are_not_resident_make_the_same_steps():
    resident, fetched = make_step(), on_host(make_step())
    for step in (resident, fetched):
        for i in range(3):
            step(torch.arange(4) + i, 1e-2)
    assert fetched.read_losses() == resident.read_losses()
    for ours, theirs in zip(fetched.model.parameters(), resident.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_reading_the_losses_starts_a_new_mean():
    step = make_step()
    step(torch.arange(4), 0.0)
    assert step.read_losses().total > 0
    assert step.read_losses().total == 0


def test_moments_of_biases_in_front_of_batch_norm_may_be_missing_or_left_over():
    model = ModelConfig(nt_cond=2, offset=2, enc_hidden_size=2, dec_hidden_size=2, res_hidden_size=8)
    ours, resumed = (make_step(config=replace(CONFIG, model=model)) for _ in range(2))
    bias = ours.model.encoder_t.stages[1].conv.bias
    for step in (ours, resumed):
        step.model.encoder_t.stages[1].conv.bias.data.fill_(0.5)
        step(torch.arange(4), 1e-3)
    state = copy.deepcopy(ours.state())
    assert len(state["optimizer"]["state"]) < len(list(ours.model.parameters()))
    for number, parameter in enumerate(ours.model.parameters()):
        if parameter not in ours.optimizer.state:  # as left by an Adam that moved these biases too
            moments = {name: torch.ones_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            state["optimizer"]["state"][number] = {"step": torch.tensor(1.0), **moments}
    resumed.load_state(state, done=1)
    for step in (ours, resumed):
        step(torch.arange(4), 1e-3)
    assert (bias == 0.5).all()
    for one, other in zip(ours.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_calls_of_batch_norms_are_counted(compile):
    model = ModelConfig(
        shape=(1, 8, 8), encoder="sst", decoder="sst", mixing="concat", code_size_s=4, code_size_t=4, nt_cond=2,
        sst_filters=2, res_hidden_size=4, skip=True, offset=0, last_activation="none",
    )  # fmt: skip
    step = make_step(config=replace(CONFIG, model=model), ways=Ways(compile, False))
    plain = copy.deepcopy(step.model)
    for module in plain.modules():
        module.ledger = None
    step.cases()  # asks, and counts nothing
    for _ in range(2):
        objective(plain, step.feed.windows.batch(torch.arange(4)), torch.tensor(2), CONFIG.objective)
        step(torch.arange(4), 0.0)
    counts = [{k: v.item() for k, v in m.named_buffers() if "tracked" in k} for m in (step.model, plain)]
    assert counts[0] == counts[1]
    assert counts[0]["integrator.blocks.0.0.norm.num_batches_tracked"] == 2 * (CONFIG.objective.nt_pred - 1)


def test_what_a_step_draws_depends_on_its_number_alone():
    whole, late = make_step(), make_step()
    terms = []
    for _ in range(6):
        whole(torch.arange(4), 0.0)
        terms.append(whole.read_losses())
    assert len(set(terms)) == 2 + 1  # as many as there are windows to draw from
    torch.rand(100)
    late.done = 4
    for number in (4, 5):
        late(torch.arange(4), 0.0)
        assert late.read_losses() == terms[number]


def test_how_adam_runs_is_this_machine_s_and_not_the_file_s():
    ours, resumed = make_step(), make_step()
    for _ in range(3):
        ours(torch.arange(4), 1e-2)
    state = copy.deepcopy(ours.state())
    for group in state["optimizer"]["param_groups"]:  # as a GPU, a CUDA graph or another program would write it
        group |= {"capturable": True, "fused": False, "foreach": True, "lr": torch.tensor(7.0), "betas": (0.0, 0.0)}
    for moments in state["optimizer"]["state"].values():
        moments["step"] = moments["step"].double()
    state["scaler"] = {}
    resumed.model.load_state_dict(ours.model.state_dict())
    resumed.load_state(state, done=3)
    for step in (ours, resumed):
        step(torch.arange(4), 1e-2)
    (group,) = resumed.optimizer.param_groups
    assert group["fused"] and not group["capturable"] and not group["foreach"] and group["lr"] is resumed.lr
    for one, other in zip(ours.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_moments_lie_in_memory_as_the_weights_do():
    """A file keeps the layout of the machine that wrote it; Adam on GPUs goes by addresses."""
    model = ModelConfig(nt_cond=2, offset=2, enc_hidden_size=2, dec_hidden_size=2, res_hidden_size=8)
    ours, resumed = (make_step(config=replace(CONFIG, model=model)) for _ in range(2))
    ours(torch.arange(4), 1e-3)
    state = copy.deepcopy(ours.state())
    for moments in state["optimizer"]["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            moments[name] = moments[name].contiguous()
    resumed.model.to(memory_format=torch.channels_last).load_state_dict(ours.model.state_dict())
    resumed.load_state(state, done=1)
    assert any(parameter.stride(1) == 1 for parameter in resumed.model.parameters() if parameter.dim() == 4)
    parameters = list(resumed.model.parameters())
    for number, moments in state["optimizer"]["state"].items():
        for name in ("exp_avg", "exp_avg_sq"):
            loaded = resumed.optimizer.state[parameters[number]][name]
            assert loaded.stride() == parameters[number].stride()
            assert torch.equal(loaded, moments[name])


@pytest.mark.parametrize("written", [torch.float32, torch.float16])
def test_a_run_goes_on_in_another_precision(written):
    """With a loss scale or without."""
    ours = make_step(written)
    ours(torch.arange(4), 1e-2)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        resumed = make_step(dtype)
        resumed.model.load_state_dict(ours.model.state_dict())
        resumed.load_state(copy.deepcopy(ours.state()), done=1)
        resumed(torch.arange(4), 1e-2)
        assert resumed.read_losses().total > 0


def test_bf16_stays_near_float32():
    exact, fast = make_step(), make_step(torch.bfloat16)
    for step in (exact, fast):
        for _ in range(5):
            step(torch.arange(4), 1e-3)
    assert fast.read_losses().total == pytest.approx(exact.read_losses().total, rel=0.02)
    assert all(p.dtype == torch.float32 for p in fast.model.parameters())


@pytest.mark.parametrize("offset", [0, 2])
def test_the_random_window_stays_inside_the_video(offset):
    model = replace(CONFIG.model, offset=offset)
    low, high = window_ends(model, CONFIG.objective)
    assert low == model.nt_cond
    assert high == CONFIG.window - (offset == 0)
    network = SeparableModel(model)
    video = torch.rand(4, CONFIG.window, 1, 9)
    for end in (low, high):
        assert torch.isfinite(objective(network, video, torch.tensor(end), CONFIG.objective).total)


def test_what_a_cpu_cannot_do_is_refused():
    cpu = torch.device("cpu")
    with pytest.raises(UserError, match="CUDA graphs need a GPU"):
        resolve_ways("auto", "on", cpu)
    with pytest.raises(UserError, match="fp16"):
        resolve_precision("fp16", cpu)
    with pytest.raises(UserError, match="no device"):
        resolve_device("gpu")
    assert resolve_ways("auto", "auto", cpu) == Ways(False, False)


def test_messages_of_gloo_are_not_captured(monkeypatch):
    gpu, ranks = torch.device("cuda"), World(rank=1, size=2, joined=True)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    with pytest.raises(UserError, match="no messages of gloo"):
        resolve_ways("off", "on", gpu, world=ranks)
    assert not resolve_ways("off", "auto", gpu, world=ranks).capture and resolve_ways("off", "auto", gpu).capture
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    assert resolve_ways("off", "on", gpu, world=ranks).capture


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.slow
def test_compiled_equals_eager(masked):
    eager, compiled = make_step(masked=masked), make_step(ways=Ways(True, False), masked=masked)
    for step in (eager, compiled):
        for _ in range(4):
            step(torch.arange(4), 1e-3)
    assert compiled.read_losses().total == pytest.approx(eager.read_losses().total, rel=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("norm", [None, 0.05])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_captured_step_equals_one_that_is_not(dtype, norm, compile):
    # In a half type compiled code rounds elsewhere than eager code, which twelve steps blow up: only capture differs.
    ways = EAGER if dtype == torch.float32 else Ways(compile, False), Ways(compile, True)
    eager, captured = (make_step(dtype, way, clipped(norm), device="cuda") for way in ways)
    for step in (eager, captured):
        for i in range(12):
            step(torch.arange(4, device="cuda") + i % 5, 1e-3 * (i + 1))
    assert captured._replay.recorded
    assert captured.read_losses().total == pytest.approx(eager.read_losses().total, rel=1e-2)
    tolerance = 1e-3 if dtype == torch.float32 else 3e-2
    for ours, theirs in zip(captured.model.parameters(), eager.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_a_captured_step_leaves_out_the_same_cells(compile):
    eager, captured = (make_step(ways=way, masked=True, device="cuda") for way in (EAGER, Ways(compile, True)))
    for step in (eager, captured):
        for i in range(12):
            step(torch.arange(4, device="cuda") + i % 5, 1e-3)
    assert captured._replay.recorded
    assert captured.read_losses().total == pytest.approx(eager.read_losses().total, rel=1e-2)
    for ours, theirs in zip(captured.model.parameters(), eager.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
def test_a_graph_takes_windows_that_are_not_resident():
    eager, captured = make_step(device="cuda"), on_host(make_step(device="cuda"), Ways(False, True))
    for step in (eager, captured):
        for i in range(12):
            step(torch.arange(4) + i % 5, 1e-3)
    assert captured._replay.recorded
    assert captured.read_losses().total == pytest.approx(eager.read_losses().total, rel=1e-2)
    for ours, theirs in zip(captured.model.parameters(), eager.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
def test_replays_draw_the_videos_of_their_step():
    """A CUDA graph draws within itself what its generator is seeded to before each replay, as eager steps do."""
    model = ModelConfig(nt_cond=2, offset=2, enc_hidden_size=2, dec_hidden_size=2, res_hidden_size=8)
    config = replace(CONFIG, model=model, data=MovingMNIST(digits="sklearn", stochastic=True))
    steps = []
    for ways in (EAGER, Ways(False, True)):
        torch.manual_seed(0)
        network = SeparableModel(model).cuda()
        windows = config.data.open("train", 2, 3, torch.device("cuda"))
        steps.append(TrainStep(network, windows, config, torch.float32, ways))
    terms = []
    for number in (0, 1, 2, 3, 4, 5, 6, 3, 9):
        for step in steps:
            step.done = number
            step(torch.arange(4, device="cuda"), 0.0)
        eager, captured = (step.read_losses() for step in steps)
        assert captured.total == pytest.approx(eager.total, rel=1e-4)
        terms.append(captured.total)
    assert steps[1]._replay.recorded
    assert terms[3] == pytest.approx(terms[7], rel=1e-4)
    assert len({round(term, 3) for term in terms}) > 5


@pytest.mark.gpu
def test_a_run_goes_on_from_a_gpu_on_a_cpu_and_back(tmp_path):
    gpu, cpu, back = (make_step(device=device) for device in ("cuda", "cpu", "cuda"))
    index = torch.arange(4)
    for before, after in ((gpu, cpu), (cpu, back)):
        for _ in range(2):
            before(index.to(before.device), 1e-3)
        torch.save(before.state(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True)
        after.model.load_state_dict(before.model.state_dict())
        after.load_state(state, before.done)
    for step in (gpu, back):
        while step.done < 6:
            step(index.cuda(), 1e-3)
    for one, other in zip(gpu.model.parameters(), back.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_replays_draw_new_random_windows():
    step = make_step(ways=Ways(False, True), device="cuda")
    index = torch.arange(4, device="cuda")
    terms = set()
    for _ in range(20):
        step(index, 0.0)
        terms.add(round(step.read_losses().ae, 9))
    assert len(terms) > 1
