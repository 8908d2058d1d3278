"""Exported programs forecast as the run does, in a process that knows nothing of this project."""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command_line import run_command
from run_cases import HOLES, MODELS, WITH_HOLES, apart, lively_run
from torch.export.passes import move_to_device_pass

import fastsep
from fastsep.config import Config
from fastsep.data.scaling import Scaling
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.errors import UserError
from fastsep.inference import Forecaster
from fastsep.inference.export import export_run
from fastsep.inference.program import example, trace
from fastsep.runs.directory import update_config

OLD_RUN = Path(__file__).parents[1] / "fixtures" / "run_0.1.0"
BATCHES = (1, 3)

ELSEWHERE = """
import json, sys
sys.modules["fastsep"] = sys.modules["kernels"] = None  # not to be imported, though this environment may have them
import numpy, torch
for number in range(len(sys.argv) // 2):
    program, frames = sys.argv[2 * number + 1 : 2 * number + 3]
    facts = {"fastsep.json": ""}
    model = torch.export.load(program, extra_files=facts).module()
    with numpy.load(frames) as given, torch.no_grad():
        found = {name: model(torch.from_numpy(given[name])).numpy() for name in given}
    numpy.savez(frames + ".out.npz", **found)
    print(json.dumps(json.loads(facts["fastsep.json"])))
assert not any(name.startswith(("fastsep.", "kernels.")) for name in sys.modules)
"""
"""Loads programs and frames by turns; writes the forecasts and prints what each program says of itself."""


def forecast_elsewhere(folder: Path, programs: dict[Path, Forecaster]) -> list[dict]:
    """Run programs in another process; compare with their runs. Returns what the programs say of themselves."""
    words = []
    for number, (program, model) in enumerate(programs.items()):
        frames = folder / f"frames{number}.npz"
        np.savez(frames, **{f"b{size}": example(model, size).numpy() for size in BATCHES})
        words += [program, frames]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", ELSEWHERE, *words], cwd=folder, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = [json.loads(line) for line in done.stdout.splitlines()]
    for number, (model, said) in enumerate(zip(programs.values(), facts, strict=True)):
        with np.load(folder / f"frames{number}.npz.out.npz") as found:
            for size in BATCHES:
                compare(found[f"b{size}"], model, size, said["horizon"], 1e-6)
    return facts


def compare(found: np.ndarray, model: Forecaster, size: int, horizon: int, tolerance: float) -> None:
    """``found`` is the model's forecast, up to ``tolerance`` or to twice what float32 loses in it anyway."""
    frames = example(model, size)
    expected = model.forecast(frames, horizon)
    double = copy.deepcopy(model.model).double()
    with torch.no_grad():
        exact = double.forecast(model.scaling.scale(frames).double(), horizon)
    lost = apart(expected, model.scaling.unscale(exact))
    assert apart(found, expected) < max(tolerance, 2 * lost)


def beside_the_bar(errors: str) -> list[str]:
    """What was said on standard error but progress."""
    return [line for line in errors.replace("\r", "\n").splitlines() if line.strip() and "/3 [" not in line]


@pytest.mark.slow
def test_other_processes_forecast_the_same(tmp_path: Path, capsys) -> None:
    holes = lively_run(tmp_path / "holes", WITH_HOLES, HOLES)
    for run, name, options in ((OLD_RUN, "a", []), (holes, "b", ["--horizon", 3])):
        status, said, errors = run_command("export", run, "--out", tmp_path / f"{name}.pt2", *options, capsys=capsys)
        assert (status, beside_the_bar(errors)) == (0, [])
    assert "b.pt2: frames (sequences, 2, 2, 4, 3) to forecasts (sequences, 3, 2, 4, 3)" in said
    programs = {tmp_path / f"{name}.pt2": fastsep.load(run, "cpu") for name, run in (("a", OLD_RUN), ("b", holes))}
    points, units = forecast_elsewhere(tmp_path, programs)
    assert points["output"] == ["sequences", 4, 1, 100] and points["horizon"] == 4  # as many as training predicted
    assert units | {"version": ""} == {
        "program": "fastsep", "version": "", "dataset": "wave100", "step": 7, "frames": "oldest first",
        "input": ["sequences", 2, 2, 4, 3],
        "output": ["sequences", 3, 2, 4, 3], "nt_cond": 2, "horizon": 3, "channels": ["t", "s"],
        "units": ["degC", "psu"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", [n if n in ("vgg32_skip", "dcgan_skip") else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]
)
def test_programs_are_plain_operations_for_any_batch(name: str, tmp_path: Path) -> None:
    model = fastsep.load(lively_run(tmp_path / "run", MODELS[name]), "cpu")
    program = trace(model, 3)
    for node in program.graph.nodes:
        if node.op == "call_function":
            kind = getattr(node.target, "namespace", "operator" if node.target.__module__ == "_operator" else None)
            assert kind in ("aten", "operator"), node.target
    for size in (1, 4):
        with torch.no_grad():
            compare(program.module()(example(model, size)).numpy(), model, size, 3, 1e-6)
    with pytest.raises(Exception, match="frames"):
        program.module()(example(model, 2)[:, 1:])
    elsewhere = move_to_device_pass(program, "meta").module()  # nothing is bound to the machine that exports
    assert elsewhere(example(model, 2).to("meta")).shape == (2, 3, *model.shape)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["mlp", "vgg32_skip", "sst_skip"])
def test_programs_move_to_a_gpu(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # in deep networks its rounding grows to a percent
    model = fastsep.load(lively_run(tmp_path / "run", MODELS[name]), "cpu")
    program = move_to_device_pass(trace(model, 3), "cuda").module()
    with torch.no_grad():
        compare(program(example(model, 2).cuda()).cpu().numpy(), model, 2, 3, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_network_in_every_format_elsewhere(name: str, tmp_path: Path, capsys) -> None:
    run = lively_run(tmp_path / "run", MODELS[name])
    model = fastsep.load(run, "cpu")
    for suffix in ("pt2", "onnx"):
        assert run_command("export", run, "--out", tmp_path / f"m.{suffix}", "--horizon", 3, capsys=capsys)[0] == 0
    forecast_elsewhere(tmp_path, {tmp_path / "m.pt2": model})
    check_onnx(tmp_path / "m.onnx", model, 3)


def check_onnx(path: Path, model: Forecaster, horizon: int) -> None:
    session = onnxruntime.InferenceSession(path)
    for size in BATCHES:
        (found,) = session.run(["forecast"], {"frames": example(model, size).numpy()})
        compare(found, model, size, horizon, 1e-4)


def test_onnx_runtime_forecasts_the_same(tmp_path: Path, capsys) -> None:
    run = lively_run(tmp_path / "run", WITH_HOLES, HOLES)
    status, _, errors = run_command("export", run, "--out", tmp_path / "m.onnx", "--horizon", 3, capsys=capsys)
    assert (status, beside_the_bar(errors)) == (0, [])
    check_onnx(tmp_path / "m.onnx", fastsep.load(run, "cpu"), 3)
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert facts["units"] == '["degC", "psu"]' and facts["nt_cond"] == "2" and facts["dataset"] == "wave100"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
def test_compiled_programs_forecast_the_same(tmp_path: Path, capsys) -> None:
    status, _, errors = run_command(
        "export", OLD_RUN, "--out", tmp_path / "m.pt2", "--format", "aoti", "--horizon", 2, capsys=capsys
    )
    assert status == 0, errors
    program = torch._inductor.aoti_load_package(str(tmp_path / "m.pt2"))
    assert program.get_metadata()["horizon"] == "2"
    for size in BATCHES:
        model = fastsep.load(OLD_RUN, "cpu")
        compare(program(example(model, size)).numpy(), model, size, 2, 1e-5)


def test_a_place_that_cannot_be_written_is_noticed_before_anything_is_traced(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr("fastsep.inference.export.trace", None)  # would be called
    (tmp_path / "m.pt2").mkdir()
    status, _, said = run_command("export", OLD_RUN, "--out", tmp_path / "m.pt2", capsys=capsys)
    assert status == 2 and f"cannot write {tmp_path / 'm.pt2'} (Is a directory): choose another --out" in said
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent", "--out", "m.pt2"], "absent holds no run"),
        ([OLD_RUN, "--out", "m.bin"], "m.bin does not end in .pt2"),
        ([OLD_RUN, "--out", "m.pt2", "--format", "onnx"], "m.pt2 does not end in .onnx"),
        ([OLD_RUN, "--out", "m.pt2", "--horizon", "0"], "set --horizon to a whole number from 1 to 1,000"),
        ([OLD_RUN, "--out", "/dev/null/m.pt2"], "cannot write /dev/null/m.pt2 (Not a directory)"),
    ],
)
def test_bad_input_is_one_line(arguments, words, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, errors = run_command("export", *arguments, capsys=capsys)
    assert status == 2 and words in errors and "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_not_there_is_named(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    status, _, errors = run_command("export", OLD_RUN, "--out", tmp_path / "m.onnx", capsys=capsys)
    assert status == 2 and "exporting to ONNX needs onnxscript" in errors and "pip install -e '.[onnx]'" in errors


def as_if(model: Forecaster, horizon: int, added: float) -> SimpleNamespace:
    """What stands for a program that forecasts as the model does, and more by ``added``."""
    return SimpleNamespace(module=lambda: lambda frames: model.forecast(frames, horizon) + added)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, capsys, monkeypatch) -> None:
    def full_disk(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "m.pt2").write_bytes(b"before")
    monkeypatch.setattr("fastsep.inference.export.trace", lambda model, horizon: as_if(model, horizon, 0.0))
    monkeypatch.setattr("fastsep.inference.export._pack_pt2", lambda *_: b"after")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_disk)
        status, _, errors = run_command("export", OLD_RUN, "--out", tmp_path / "m.pt2", capsys=capsys)
    assert status == 2 and "No space left on device" in errors and "free some on the disk of" in errors
    assert (tmp_path / "m.pt2").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]
    assert run_command("export", OLD_RUN, "--out", tmp_path / "m.pt2", capsys=capsys)[0] == 0
    assert (tmp_path / "m.pt2").read_bytes() == b"after"


def test_a_program_that_forecasts_something_else_is_not_written(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("fastsep.inference.export.trace", lambda model, horizon: as_if(model, horizon, 1e-3))
    status, _, errors = run_command("export", OLD_RUN, "--out", tmp_path / "m.pt2", capsys=capsys)
    assert status == 2 and "exports this run to a program with other forecasts" in errors
    assert not list(tmp_path.iterdir())


def test_a_small_channel_counts_as_much_as_a_large_one(tmp_path: Path, monkeypatch) -> None:
    """A channel of pressures in pascals hides nothing of one of velocities."""
    units = Scaling((4, 3), np.array([1e5, 0], np.float32), np.array([500, 1], np.float32), padding=(0, 2))
    run = lively_run(tmp_path / "run", WITH_HOLES, units)

    def as_if_still(model: Forecaster, horizon: int) -> SimpleNamespace:
        def still(frames: torch.Tensor) -> torch.Tensor:
            future = model.forecast(frames, horizon)
            future[:, :, 1] = 0
            return future

        return SimpleNamespace(module=lambda: still)

    monkeypatch.setattr("fastsep.inference.export.trace", as_if_still)
    with pytest.raises(UserError, match="to a program with other forecasts"):
        export_run(run, tmp_path / "m.pt2", 2)


def test_forecasts_that_are_not_finite_are_exported_as_they_are(tmp_path, monkeypatch) -> None:
    run = lively_run(tmp_path / "run", WITH_HOLES)

    def as_if_diverged(model: Forecaster, horizon: int) -> SimpleNamespace:
        diverge, forecast = torch.tensor([1.0, torch.nan, torch.inf]), model.forecast
        monkeypatch.setattr(model, "forecast", lambda frames, horizon: forecast(frames, horizon)[..., :3] * diverge)
        return as_if(model, horizon, 0.0)

    monkeypatch.setattr("fastsep.inference.export.trace", as_if_diverged)
    monkeypatch.setattr("fastsep.inference.export._pack_pt2", lambda *_: b"program")
    export_run(run, tmp_path / "m.pt2", 2)


@pytest.mark.parametrize("missing", [False, True])
def test_rounding_of_an_offset_is_no_difference_and_a_missing_cell_is_no_number(missing, tmp_path, monkeypatch) -> None:
    """Pressures about 101325 that vary by 10 have no more than three digits of that in float32."""
    present = np.arange(12).reshape(4, 3) != 5
    units = Scaling((4, 3), np.array([101325, 0], np.float32), np.array([10, 1], np.float32), present, (0, 2))
    run = lively_run(tmp_path / "run", WITH_HOLES, units)

    def as_if_rounded(model: Forecaster, horizon: int) -> SimpleNamespace:
        def rounded(frames: torch.Tensor) -> torch.Tensor:
            future = model.forecast(frames, horizon)
            future[:, :, 0] = torch.nextafter(future[:, :, 0], torch.tensor(torch.inf))
            return future if missing else future.nan_to_num()

        return SimpleNamespace(module=lambda: rounded)

    monkeypatch.setattr("fastsep.inference.export.trace", as_if_rounded)
    monkeypatch.setattr("fastsep.inference.export._pack_pt2", lambda *_: b"program")
    if missing:
        export_run(run, tmp_path / "m.pt2", 2)
    else:
        with pytest.raises(UserError, match="to a program with other forecasts"):
            export_run(run, tmp_path / "m.pt2", 2)


def test_programs_say_which_way_time_goes_and_take_numbers_of_numpy(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("fastsep.inference.export.trace", lambda model, horizon: as_if(model, horizon, 0.0))
    monkeypatch.setattr("fastsep.inference.export._pack_pt2", lambda program, facts: json.dumps(facts).encode())
    run = lively_run(tmp_path / "run", WITH_HOLES)
    for order, frames in (("published", "newest first"), ("chronological", "oldest first")):
        update_config(run, Config(data=TaxiBJ(order=order), model=WITH_HOLES))
        facts = export_run(run, tmp_path / "m.pt2", np.int64(2))
        assert facts["frames"] == frames and json.loads((tmp_path / "m.pt2").read_text())["horizon"] == 2
        assert ("goes back in time" in capsys.readouterr().err) == (order == "published")
