"""``--profile``: what is traced, what the sums mean, and that training goes on as it would have."""

import gzip
import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loop_cases import pulses_config, stop_at, weights_of
from rank_cases import run_training, wave100
from ranks import run_ranks

from fastsep import signals
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.errors import UserError
from fastsep.runs.checkpoint import newest_checkpoint
from fastsep.training.loop import resume, train
from fastsep.training.profiling import Event, read_events, summarise, to_text


@pytest.fixture
def config(monkeypatch):
    config = pulses_config(monkeypatch)
    optim = replace(config.optim, steps=20)
    return replace(config, optim=optim, run=replace(config.run, profile=True))


def test_a_traced_run_holds_the_trace_and_computes_the_same(config, tmp_path, capsys):
    traced, plain = tmp_path / "traced", tmp_path / "plain"
    train(config, traced)
    told = capsys.readouterr()
    assert f"profile: {traced}/profile holds rank0.md" in told.out and "profiler_st" not in told.err
    train(replace(config, run=replace(config.run, profile=False)), plain, False)
    assert sorted(path.name for path in (traced / "profile").iterdir()) == ["rank0.md", "rank0.pt.trace.json.gz"]
    assert not (plain / "profile").exists()
    with gzip.open(traced / "profile" / "rank0.pt.trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    adam = [event for event in events if event.get("name", "").startswith("Optimizer.step#")]
    assert len(adam) == 5  # as many as traced steps
    page = (traced / "profile" / "rank0.md").read_text()
    assert "aten::" in page and page.count("\n| `") == 10 and "| in communication | 0.0% |" in page
    for ours, theirs in zip(weights_of(traced).values(), weights_of(plain).values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_each_rank_traces_itself_and_averages_are_those_of_one_process(tmp_path):
    data = generate(tmp_path, WaveSettings(10, 80), torch.device("cpu"))
    settings = wave100(data, steps=15, ema=0.9)
    settings = replace(settings, run=replace(settings.run, profile=True))
    train(replace(settings, run=replace(settings.run, profile=False)), tmp_path / "one", False)
    assert run_ranks(2, run_training, settings, tmp_path / "two") == [None, None]
    ours, theirs = (torch.cat([w.flatten() for w in weights_of(tmp_path / run).values()]) for run in ("two", "one"))
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()  # Adam makes a whole step of a gradient that is all rounding
    for rank in (0, 1):
        assert (tmp_path / "two" / "profile" / f"rank{rank}.pt.trace.json.gz").exists()
        page = (tmp_path / "two" / "profile" / f"rank{rank}.md").read_text()
        assert "| in communication | 0.0% |" not in page and "| in communication | " in page


def test_a_run_too_short_to_trace_is_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(UserError, match="traces 5 steps after 10 others: set --steps to 15 or more"):
        train(replace(config, optim=replace(config.optim, steps=14)), tmp_path / "run", False)
    assert not (tmp_path / "run").exists()


def test_a_trace_that_is_interrupted_leaves_nothing_and_is_taken_on_resuming(config, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, 13, signal.SIGTERM)
        with pytest.raises(signals.Stopped, match="step 13 is saved"):
            train(replace(config, optim=replace(config.optim, steps=40)), run, False)
    assert not (run / "profile").exists()
    resume(run)
    assert (run / "profile" / "rank0.md").exists()
    with pytest.raises(UserError, match="is complete"):
        resume(run)
    resume(run, config=replace(config, optim=replace(config.optim, steps=42), run=replace(config.run, out=run)))
    assert "profile: nothing was traced, the training ended within 15 steps" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_costs_a_line_and_not_the_training(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fastsep.training.profiling.FOLDER", "config.json")
    train(config, tmp_path / "run")
    assert newest_checkpoint(tmp_path / "run").step == config.optim.steps
    said = capsys.readouterr()
    assert len(re.findall(r"config\.json.*training goes on", said.err)) == 1
    assert "rank0.pt.trace.json.gz was not written" in said.out


def test_a_trace_that_is_cut_off_costs_a_line_and_leaves_no_file(config, tmp_path, monkeypatch, capsys):
    whole = torch.profiler.profile.export_chrome_trace

    def cut_off(self, path):  # as where the temporary directory is full
        whole(self, path)
        Path(path).write_bytes(gzip.compress(gzip.decompress(Path(path).read_bytes())[:1000]))

    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", cut_off)
    train(config, tmp_path / "run")
    assert newest_checkpoint(tmp_path / "run").step == config.optim.steps
    said = capsys.readouterr()
    assert len(re.findall(r"rank0\.pt\.trace\.json\.gz is not whole .*full\?\): training goes on", said.err)) == 1
    assert "rank0.pt.trace.json.gz was not written" in said.out
    assert not any((tmp_path / "run" / "profile").iterdir())


def test_shares_are_of_time_and_not_of_sums():
    events = [
        Event("aten::mm", 0, 40, 30),  # contains the next one
        Event("aten::copy_", 10, 20, 10),
        Event("nccl:all_reduce", 30, 60, 30),  # ten of it while mm runs
        Event("aten::mm", 80, 90, 10),
    ]
    summary = summarise(events, 100e-6, steps=2)
    assert summary.seconds == pytest.approx(50e-6)
    assert summary.communication == pytest.approx(0.3)
    assert summary.exposed == pytest.approx(0.2)
    assert summary.idle == pytest.approx(1 - 0.7)
    assert [row[0] for row in summary.largest] == ["aten::mm", "nccl:all_reduce", "aten::copy_"]
    assert summary.largest[0] == ("aten::mm", 1.0, pytest.approx(0.02), pytest.approx(0.5))
    page = to_text(summary, torch.device("cpu"))
    assert "| in communication | 30.0% |" in page
    assert "| `aten::mm` | 1 | 0.020 | 50.0% |" in page


def test_own_time_leaves_out_what_runs_within():
    def entry(name, start, end, thread=1, kind="cpu_op"):
        return {"ph": "X", "cat": kind, "name": name, "ts": start, "dur": end - start, "pid": 1, "tid": thread}

    trace = [
        entry("inner", 20, 30), entry("outer", 0, 100), entry("innermost", 22, 24), entry("inner", 30, 50),
        entry("beside", 10, 90, thread=2), entry("gloo:all_reduce", 40, 60, 3, "user_annotation"),
        entry("Optimizer.step", 0, 100, 1, "user_annotation"), entry("kernel", 0, 5, 7, "kernel"), {"ph": "M"},
    ]  # fmt: skip
    own = sorted((event.name, event.own) for event in read_events(trace, on_gpu=False))
    assert own == [
        ("beside", 80), ("gloo:all_reduce", 20), ("inner", 8), ("inner", 20), ("innermost", 2), ("outer", 70),
    ]  # fmt: skip
    assert [event.name for event in read_events(trace, on_gpu=True)] == ["kernel"]


def test_nothing_at_all_is_idle_time():
    summary = summarise([], 1.0, steps=1)
    assert summary.idle == 1 and summary.communication == summary.exposed == 0 and summary.largest == []


@pytest.mark.gpu
@pytest.mark.parametrize("capture", ["off", "on"])
def test_kernels_of_a_gpu_are_traced_in_graphs_too(config, tmp_path, capture):
    run = tmp_path / "run"
    train(replace(config, run=replace(config.run, device="cuda", compile="off", capture=capture)), run, False)
    assert "idle: no operation ran on the GPU" in (run / "profile" / "rank0.md").read_text()
    with gzip.open(run / "profile" / "rank0.pt.trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    kernels = [event["name"] for event in events if event.get("cat") == "kernel"]
    assert sum("Adam" in name for name in kernels) == 5  # one fused update in each traced step
