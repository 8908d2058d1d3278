"""Choosing among candidates that are slow, wrong, raising or out of memory; the cache on disk, good and bad."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kernels.choose import BrokenDeviceError, Case, Task, asked_for, cases, chosen, decide, measure, register, use
from kernels.choose.__main__ import main
from kernels.choose.cache import machine, path_for, read
from kernels.choose.measure import judge, median_seconds, recorded

pytestmark = pytest.mark.filterwarnings("ignore:wrong is not used")

CPU = torch.device("cpu")
X = torch.linspace(-1, 1, 100, dtype=torch.float64)


def library() -> list[Tensor]:
    """As a library in bf16 would answer."""
    return [X.bfloat16(), (2 * X).bfloat16()]


def task(**others: Callable[[], list[Tensor]]) -> Task:
    return Task({"library": library, **others}, lambda: [X, 2 * X])


def clock(**seconds: float) -> Callable:
    """Times candidates by the clock of a simulated device, by their names."""
    return lambda call, device: seconds[call.__name__]


def fast() -> list[Tensor]:
    return library()


def slow() -> list[Tensor]:
    return library()


def wrong() -> list[Tensor]:
    y, z = library()
    return [y, z * 1.1]


def nan() -> list[Tensor]:
    y, z = library()
    y[3] = torch.nan
    return [y, z]


def misshapen() -> list[Tensor]:
    y, z = library()
    return [y[:, None], z]


def refused() -> list[Tensor]:
    raise RuntimeError("no such instruction\nmore")


def hungry() -> list[Tensor]:
    raise torch.cuda.OutOfMemoryError("tried to allocate")


def test_the_fastest_that_agrees_is_used() -> None:
    found = judge(task(fast=fast, slow=slow), CPU, clock(library=2e-3, fast=1e-3, slow=3e-3))
    assert found.use == "fast"
    assert found.us == pytest.approx({"library": 2e3, "fast": 1e3, "slow": 3e3})
    assert not found.out


@pytest.mark.parametrize(("seconds", "winner"), [(0.98, "library"), (0.96, "fast"), (1.0, "library")])
def test_within_three_percent_the_library_stays(seconds: float, winner: str) -> None:
    assert judge(task(fast=fast), CPU, clock(library=1.0, fast=seconds)).use == winner


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (wrong, r"relative error 1\.0e-01, allowed"),
        (nan, "not finite"),
        (misshapen, r"ValueError: shape \(100, 1\) instead of \(100,\)"),
        (refused, "RuntimeError: no such instruction"),
        (hungry, "out of memory"),
    ],
)
def test_what_is_wrong_or_fails_is_out_with_its_reason(bad: Callable, why: str) -> None:
    found = judge(task(bad=bad, fast=fast), CPU, clock(**{bad.__name__: 0.0, "library": 1.0, "fast": 0.5}))
    assert found.use == "fast"
    assert list(found.out) == ["bad"] and "bad" not in found.us
    assert re.match(why, found.out["bad"])


def test_an_error_of_a_few_roundings_passes_and_ten_do_not() -> None:
    def off_by(times: float) -> Callable[[], list[Tensor]]:
        def call() -> list[Tensor]:
            return [exact + times * (low.double() - exact) for low, exact in zip(library(), [X, 2 * X], strict=True)]

        return call

    found = judge(task(near=off_by(3.9), far=off_by(10)), CPU, lambda call, device: 1.0)
    assert set(found.us) == {"library", "near"} and set(found.out) == {"far"}


def test_a_library_that_cannot_be_verified_stays() -> None:
    found = judge(Task({"library": hungry, "fast": fast}, lambda: [X]), CPU)
    assert found == ("library", {}, {"library": "out of memory"})


def test_real_time_is_measured() -> None:
    assert 0.002 < median_seconds(lambda: time.sleep(0.002), CPU) < 0.05


@pytest.mark.gpu
def test_a_gpu_is_timed_without_what_python_does() -> None:
    gpu = torch.device("cuda")
    x = torch.ones(4, device=gpu)

    def call() -> list[Tensor]:
        time.sleep(0.01)
        return [x + 1]

    replay = recorded(call, gpu)
    assert median_seconds(replay, gpu) < 1e-3
    x.mul_(2)
    assert replay()[0].tolist() == [3] * 4


@pytest.mark.gpu
def test_a_candidate_that_cannot_be_recorded_is_out_and_leaves_the_device_as_it_was() -> None:
    gpu = torch.device("cuda")
    x = torch.ones(4, device=gpu)
    before = torch.cuda.current_stream(gpu)
    calls = {"library": lambda: [x + 1], "waits": lambda: [x + x[0].item()], "fast": lambda: [x + 1]}
    found = judge(Task(calls, lambda: [x + 1]), gpu, lambda call, device: 1.0)
    assert set(found.us) == {"library", "fast"} and "waits" in found.out
    assert torch.cuda.current_stream(gpu) == before
    assert (x + 1).tolist() == [2] * 4


@pytest.fixture
def op(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """An op ``simulated`` whose candidate ``fast`` wins, and a cache of its own; returns the directions measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cases, "_makers", dict(cases._makers))
    monkeypatch.setattr(cases, "_in_force", {})
    measured: list[str] = []

    def make(direction: str, device: torch.device, n: int, dtype: torch.dtype) -> Task:
        measured.append(f"{direction} {n}")

        def library() -> list[Tensor]:
            time.sleep(0.002)
            return [X.bfloat16()]

        return Task({"library": library, "fast": lambda: [X.bfloat16()], "wrong": lambda: [-X]}, lambda: [X])

    register("simulated", make)
    return measured


def ask(n: int = 8, direction: str = "forward") -> str | None:
    return chosen("simulated", direction, n=n, dtype=torch.bfloat16)


def test_ops_ask_and_get_what_was_decided(op: list[str]) -> None:
    with asked_for() as wanted:
        assert ask() is None
        assert ask() is None
        assert ask(direction="backward") is None
        assert chosen("no maker", "forward", n=1) is None
    assert [case.name for case in wanted][:2] == [
        "simulated forward n=8 dtype=bfloat16",
        "simulated backward n=8 dtype=bfloat16",
    ]
    choices = decide(wanted, CPU)
    assert op == ["forward 8", "backward 8"]
    assert {case.direction: choice.use for case, choice in choices.items()} == {"forward": "fast", "backward": "fast"}
    use({case: choice.use for case, choice in choices.items()})
    assert ask() == "fast"
    assert ask(n=9) is None
    use({})
    assert ask() is None


def test_a_choice_is_a_constant_of_a_compiled_graph(op: list[str]) -> None:
    def double(x: Tensor) -> Tensor:
        return x * (3.0 if chosen("simulated", "forward", n=x.shape[0], dtype=x.dtype) == "fast" else 2.0)

    case = Case("simulated", "forward", (("n", 4), ("dtype", torch.float32)))
    use({case: "fast"})
    compiled = torch.compile(double, backend="aot_eager", fullgraph=True, dynamic=False)
    assert compiled(torch.ones(4)).tolist() == [3.0] * 4
    assert compiled(torch.ones(5)).tolist() == [2.0] * 5


def wanted() -> list[Case]:
    with asked_for() as found:
        ask()
    return list(found)


def test_the_cache_spares_the_second_run_and_again_does_not(op: list[str]) -> None:
    said: list[str] = []
    first = decide(wanted(), CPU, announce=said.append)
    assert decide(wanted(), CPU, announce=said.append) == first
    assert op == ["forward 8"]
    assert len(said) == 1 and said[0].startswith("timing 1 kernels on this device")
    decide(wanted(), CPU, again=True)
    assert op == ["forward 8"] * 2


def test_changed_code_is_measured_anew(op: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    decide(wanted(), CPU)
    monkeypatch.setattr(cases, "_version_of", lambda folder: "another")
    assert next(iter(decide(wanted(), CPU).values())).code == "another"
    assert op == ["forward 8"] * 2


def test_choices_of_a_run_come_before_the_cache(op: list[str]) -> None:
    (case, choice), *_ = decide(wanted(), CPU).items()
    known = {case.name: {**choice.to_json(), "use": "library"}}
    assert decide(wanted(), CPU, known)[case].use == "library"
    assert op == ["forward 8"]


def test_a_case_whose_tensors_cannot_be_made_is_left_to_its_op_and_not_kept(op: list[str]) -> None:
    def make(*_: object, **__: object) -> Task:
        raise torch.cuda.OutOfMemoryError("tried to allocate")

    good = wanted()
    register("large", make)
    with pytest.warns(UserWarning, match="nothing is chosen for large forward n=1: tried to allocate"):
        choices = decide([Case("large", "forward", (("n", 1),)), *good], CPU)
    assert list(choices) == good
    assert set(read(path_for(machine(CPU)), machine(CPU))) == {case.name for case in good}


def test_a_candidate_that_breaks_the_device_is_left_out_by_the_next_process(
    op: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: object, **__: object) -> Task:
        return Task({"library": library, "illegal": refused}, lambda: [X, 2 * X])

    register("fragile", make)
    fragile = Case("fragile", "forward", ())
    with monkeypatch.context() as broken:
        broken.setattr(measure, "_answers", lambda device: False)
        with pytest.raises(BrokenDeviceError, match=r"illegal made the device unusable .*no such instruction"):
            decide([*wanted(), fragile], CPU)
    assert op == ["forward 8"]
    register("fragile", lambda *_, **__: pytest.fail("tried again"))
    decide([*wanted(), fragile], CPU, again=True)  # all but that
    assert op == ["forward 8"] * 2
    choices = decide([*wanted(), fragile], CPU)
    assert op == ["forward 8"] * 2
    assert [choice.use for choice in choices.values()] == ["fast", "library"]
    assert set(choices[fragile].out) == {"illegal"}


def test_what_cannot_be_verified_is_not_kept(op: list[str]) -> None:
    register("large", lambda *_, **__: Task({"library": hungry, "fast": fast}, lambda: [X]))
    case = Case("large", "forward", ())
    assert decide([case], CPU)[case].use == "library"
    assert not read(path_for(machine(CPU)), machine(CPU))


def test_a_case_without_candidates_is_left_to_its_op() -> None:
    assert decide([Case("no maker", "forward", ())], CPU) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "foreign", "spoiled"])
def test_a_cache_that_cannot_be_used_is_a_warning(op: list[str], text: str) -> None:
    decide(wanted(), CPU)
    path = path_for(machine(CPU))
    value = json.loads(path.read_text())
    if text == "foreign":
        value["machine"]["torch"] = "0.1"
    if text == "spoiled":
        next(iter(value["choices"].values()))["us"] = "fast"
    path.write_text(json.dumps(value) if text in ("foreign", "spoiled") else text)
    with pytest.warns(UserWarning, match="measured anew"):
        assert [choice.use for choice in decide(wanted(), CPU).values()] == ["fast"]
    assert op == ["forward 8"] * 2
    assert set(read(path, machine(CPU))) == {"simulated forward n=8 dtype=bfloat16"}


@pytest.mark.filterwarnings("ignore:.*are not used:UserWarning")
def test_a_cache_that_cannot_be_written_is_a_warning(
    op: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert [choice.use for choice in decide(wanted(), CPU).values()] == ["fast"]


def test_who_has_no_home_measures_each_time(op: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", homeless)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"cannot be kept \(no home\)"):
            assert [choice.use for choice in decide(wanted(), CPU).values()] == ["fast"]
    assert op == ["forward 8"] * 2


def test_a_write_that_fails_half_way_leaves_the_old_file(op: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    decide(wanted(), CPU)
    path = path_for(machine(CPU))
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="No space left"):
        decide(wanted(), CPU, again=True)
    assert path.read_text() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_table_says_what_is_used_and_why_others_are_out(
    op: list[str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["kernels.choose"])
    main()
    assert "no choices in" in capsys.readouterr().out
    decide(wanted(), CPU)
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"torch {torch.__version__}")
    assert "simulated forward n=8 dtype=bfloat16: " in lines[1]
    assert "*fast" in lines[1] and "wrong out: relative error" in lines[1]


def test_a_candidate_that_computes_wrongly_is_named_in_a_warning(op: list[str]) -> None:
    with pytest.warns(UserWarning, match="wrong is not used for simulated forward .* relative error"):
        decide(wanted(), CPU)


def test_what_was_timed_before_a_candidate_broke_the_device_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def exact() -> list[Tensor]:
        return [X, 2 * X]

    def illegal() -> list[Tensor]:
        raise RuntimeError("an illegal instruction")

    monkeypatch.setattr(measure, "_answers", lambda device: False)
    with pytest.raises(BrokenDeviceError) as caught:
        judge(task(exact=exact, illegal=illegal), CPU, clock(library=2.0, exact=1.0))
    assert caught.value.verdict.use == "exact"
