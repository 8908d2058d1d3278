"""What a step asks for is found without computing; choices are written into the run and come back from it."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fastsep.config import Config, ModelConfig, ObjectiveConfig, OptimConfig
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.errors import UserError
from fastsep.model import SeparableModel
from fastsep.training import tuning
from fastsep.training.step import TrainStep
from fastsep.training.tuning import settle, tune
from fastsep.training.ways import Ways, resolve_ways
from kernels import choose
from kernels.choose import deciding

CONFIG = Config(
    data=TaxiBJ(),
    model=ModelConfig(
        shape=(2, 32, 32), encoder="vgg", decoder="vgg", nt_cond=2, offset=2, enc_hidden_size=2, dec_hidden_size=2,
        res_hidden_size=8,
    ),
    objective=ObjectiveConfig(nt_pred=2),
    optim=OptimConfig(batch_size=2),
)  # fmt: skip
FILE = "choices.json"
EAGER = Ways(False, False)


def make_step(
    dtype: torch.dtype = torch.float32, config: Config = CONFIG, device: str = "cpu", ways: Ways = EAGER
) -> TrainStep:
    torch.manual_seed(0)
    frames = torch.rand(2, 8, *config.model.shape).to(device)
    windows = TensorWindows(frames, all_starts(2, 8, config.window), config.window)
    return TrainStep(SeparableModel(config.model).to(device).lay_out().train(), windows, config, dtype, ways)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    choose.use({})


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names what was measured; by the simulated clock every call is twice as fast as the one before."""
    names: list[str] = []
    original, clock = deciding.judge, itertools.count()

    def judge(task: choose.Task, device: torch.device):
        names.append(next(iter(task.candidates)))
        return original(task, device, lambda call, device: 2.0 ** -next(clock))

    monkeypatch.setattr(deciding, "judge", judge)
    return names


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cases_are_those_of_a_real_step_and_finding_them_changes_nothing(dtype: torch.dtype) -> None:
    step = make_step(dtype)
    before, draws = copy.deepcopy(step.model.state_dict()), torch.get_rng_state()
    cases = step.cases()
    assert torch.equal(torch.get_rng_state(), draws)
    torch.testing.assert_close(dict(step.model.state_dict()), dict(before), rtol=0, atol=0)
    with choose.asked_for() as real:
        step(torch.arange(2), 1e-3)
    assert cases == list(real)
    assert sum(case.op == "doubled_conv" for case in cases) == 3
    assert all(dict(case.facts)["dtype"] == dtype for case in cases)


def test_choices_stand_in_the_run_and_are_kept_on_resume(tmp_path: Path, judged: list[str]) -> None:
    settle(make_step(), False, tmp_path)
    value = json.loads((tmp_path / FILE).read_text())
    assert value["machine"]["torch"] == torch.__version__ and value["cudnn_benchmark"] is False
    assert {name.split()[0] for name in value["choices"]} == {"doubled_conv"}
    assert len(judged) == len(value["choices"]) == 3

    first = next(iter(value["choices"]))
    assert value["choices"][first]["use"] == "folded"
    value["choices"][first]["use"] = "doubled"
    (tmp_path / FILE).write_text(json.dumps(value))
    step = make_step()
    settle(step, True, tmp_path)
    assert len(judged) == 3
    assert {name: choice["use"] for name, choice in json.loads((tmp_path / FILE).read_text())["choices"].items()} == {
        name: choice["use"] for name, choice in value["choices"].items()
    }
    case = next(case for case in step.cases() if case.name == first)
    assert choose.chosen(case.op, case.direction, **dict(case.facts)) == "doubled"


def test_what_an_earlier_training_chose_hides_no_case(tmp_path: Path, judged: list[str]) -> None:
    first, second = make_step(), make_step()
    cases = first.cases()
    settle(first, False, None)

    def left_open() -> list[choose.Case]:
        return [case for case in cases if choose.chosen(case.op, case.direction, **dict(case.facts)) is None]

    second.cases = left_open  # a norm chosen together with its exit leaves nothing to ask about the exit alone
    assert set(settle(second, False, tmp_path)) == set(cases)


@pytest.mark.parametrize("harm", ["machine", "text", "choices"])
def test_choices_of_another_machine_or_damaged_ones_are_made_anew(tmp_path: Path, judged: list[str], harm: str) -> None:
    settle(make_step(), False, tmp_path)
    value = json.loads((tmp_path / FILE).read_text())
    good = json.dumps(value)
    value["machine"]["torch"] = "0.1"
    text = {"machine": json.dumps(value), "text": "{", "choices": good.replace('"use"', '"take"')}[harm]
    (tmp_path / FILE).write_text(text)
    with pytest.warns(UserWarning, match="made anew"):
        settle(make_step(), False, tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == json.loads(good)
    assert len(judged) == 3  # the user's cache still knew


def test_a_cpu_measures_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "settle", None)
    for mode in ("auto", "again", "off"):
        tune(make_step(), mode, tmp_path)
    assert not list(tmp_path.iterdir())


def test_cudnn_times_its_algorithms_within_a_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    assert resolve_ways("auto", "auto", gpu, "auto").benchmark and resolve_ways("auto", "auto", gpu, "again").benchmark
    assert not resolve_ways("auto", "auto", gpu, "off").benchmark
    assert not resolve_ways("auto", "auto", torch.device("cpu"), "auto").benchmark
    for ways in (Ways(False, False, True), Ways(False, False, False)):
        step = make_step()
        step.benchmark = ways.benchmark
        seen: list[bool] = []
        monkeypatch.setattr(step, "_compute", lambda seen=seen: seen.append(torch.backends.cudnn.benchmark))
        step(torch.arange(2), 1e-3)
        assert seen == [ways.benchmark]
        assert torch.backends.cudnn.benchmark is False


def test_a_run_that_cannot_hold_its_choices_is_told_so(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.warns(UserWarning, match="made anew"), pytest.raises(UserError, match="cannot write"):
        settle(make_step(config=replace(CONFIG)), False, tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_a_captured_step_runs_what_was_chosen_and_a_later_one_keeps_it(tmp_path: Path, compile: bool) -> None:
    totals = []
    for _ in range(2):
        step = make_step(torch.bfloat16, device="cuda", ways=Ways(compile, True, benchmark=True))
        tune(step, "auto", tmp_path)
        for k in range(6):
            step(torch.arange(2, device="cuda"), 1e-3 * (k + 1))
        totals.append(step.read_losses().total)
        text = (tmp_path / FILE).read_text()
        totals.append(text)
    assert totals[0] == pytest.approx(totals[2], rel=1e-2) and totals[1] == totals[3]
    value = json.loads(text)
    assert value["cudnn_benchmark"] and value["machine"]["gpu"] == torch.cuda.get_device_name()
    ops = {name.split()[0] for name in value["choices"]}
    assert ops >= {"doubled_conv", "thin_entry"} and ops & {"thin_exit", "norm_exit"}
    assert torch.backends.cudnn.benchmark is False
