"""``fastsep.load``: what other programs get, whatever they hand in and however they have set PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from run_cases import HOLES, MODELS, WITH_HOLES, apart, lively, lively_run

import fastsep
from fastsep.errors import UserError
from fastsep.inference import Forecaster
from fastsep.machine.exact import exact_products

ROOT = Path(__file__).parents[2]
OLD_RUN = ROOT / "tests" / "fixtures" / "run_0.1.0"
ROUNDING = 5e-5  # of float32 through the deepest network
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet", "sst_skip")]
KINDS = ["mlp", "dcgan_mul", "vgg32_skip", "no_s"]


def frames_of(model: Forecaster, sequences: int = 3, more: int = 0) -> np.ndarray:
    return np.random.RandomState(0).rand(sequences, model.nt_cond + more, *model.shape).astype(np.float32)


@pytest.fixture(scope="module")
def points() -> Forecaster:
    return fastsep.load(OLD_RUN, device="cpu")


@pytest.fixture(scope="module")
def holes(tmp_path_factory) -> Forecaster:
    """A run with units, a cell that is missing and padding."""
    return fastsep.load(
        str(lively_run(tmp_path_factory.mktemp("runs") / "run", WITH_HOLES, HOLES)), torch.device("cpu")
    )


@pytest.mark.parametrize("name", [*KINDS, *SLOW])
def test_it_forecasts_as_the_model_does(name: str, tmp_path: Path) -> None:
    model = fastsep.load(lively_run(tmp_path / "run", MODELS[name]), device="cpu")
    frames, other = frames_of(model), frames_of(model)[::-1]
    plain = lively(MODELS[name])
    with torch.inference_mode():
        expected = plain.forecast(torch.from_numpy(frames), 3)
        swapped = plain.swap(torch.from_numpy(frames), torch.from_numpy(other.copy()), 3)
    assert expected.std(1).mean() > 1e-4 and expected.std(0).mean() > 1e-4  # or there is nothing to compare
    assert apart(model.forecast(frames, 3), expected) < ROUNDING
    assert apart(model.swap(frames, other, 3), swapped) < ROUNDING
    static, dynamic = model.encode(frames)
    offset = MODELS[name].offset
    trajectory = model.roll_out(dynamic, 3 + offset)
    assert apart(model.decode(static, trajectory[:, offset:]), expected) < ROUNDING
    assert apart(model.decode(static, trajectory[:, offset]), expected[:, 0]) < ROUNDING


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_one_sequence_and_several_as_they_were_given(kind, points: Forecaster) -> None:
    frames = kind(frames_of(points, more=2))
    several, one = points.forecast(frames, 4), points.forecast(frames[1], 4)
    assert type(several) is type(one) is type(frames)
    assert tuple(several.shape) == (3, 4, 1, 100) and tuple(one.shape) == (4, 1, 100)
    assert one == pytest.approx(several[1], abs=1e-6)
    assert (points.forecast(frames[:, 2:], 4) == several).all()  # the last frames count
    static, dynamic = points.encode(frames[1])
    assert type(static) is type(dynamic) is type(frames)
    assert points.decode(static, points.roll_out(dynamic, 6)[2:]) == pytest.approx(one, abs=1e-6)


def test_whatever_holds_floating_point_numbers(points: Forecaster) -> None:
    frames = frames_of(points)
    expected = points.forecast(frames, 2)
    for same in (frames.astype(">f4"), frames.astype(np.float64), np.asfortranarray(frames), frames[::-1][::-1]):
        assert (points.forecast(same, 2) == expected).all()
    assert points.forecast(torch.from_numpy(frames).half(), 2).numpy() == pytest.approx(expected, abs=1e-2)
    assert points.forecast(torch.from_numpy(frames).requires_grad_(), 2).dtype == torch.float32
    assert points.forecast(frames[:0], 2).shape == (0, 2, 1, 100)
    assert points.encode(frames[:0])[0].shape == (0, 3)


def test_the_data_s_own_units(holes: Forecaster) -> None:
    assert holes.shape == (2, 4, 3) and holes.scaling.units == ("degC", "psu")
    frames = frames_of(holes) * 8 + 10
    frames[..., 1, 2] = np.nan  # the cell that is missing
    future = holes.forecast(frames, 3)
    assert np.isnan(future[..., 1, 2]).all() and np.isfinite(np.delete(future.reshape(3, 3, 2, 12), 5, -1)).all()
    with torch.inference_mode():
        expected = holes.model.forecast(torch.from_numpy(HOLES.scale(frames)), 3)
    assert apart(future, HOLES.unscale(expected)) < ROUNDING
    static, dynamic = holes.encode(frames)
    assert holes.decode(static, dynamic).shape == (3, 2, 4, 3)


def test_masked_cells_are_missing_ones(holes: Forecaster) -> None:
    frames = frames_of(holes)
    masked = np.ma.masked_array(frames, np.broadcast_to(~HOLES.present, frames.shape).copy())
    assert apart(holes.forecast(masked, 2), holes.forecast(frames, 2)) == 0
    with pytest.raises(ValueError, match="frames holds int16: floating-point numbers"):
        holes.forecast(np.ma.masked_equal(np.zeros(frames.shape, np.int16), 0), 2)
    masked[1, 0, 1, 0, 0] = np.ma.masked
    with pytest.raises(ValueError, match=r"frames holds nan in float32 at \(1, 0, 1, 0, 0\): finite"):
        holes.forecast(masked, 2)


def test_places_are_counted_from_the_first_frame_given(holes: Forecaster) -> None:
    frames = frames_of(holes, more=4)
    frames[2, 3] = np.nan  # not among the last two
    frames[1, 5, 1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"frames holds nan in float32 at \(1, 5, 1, 0, 0\): finite"):
        holes.forecast(frames, 2)
    with pytest.raises(ValueError, match=r"frames holds nan in float32 at \(5, 1, 0, 0\): finite"):
        holes.forecast(frames[1], 2)


@pytest.mark.parametrize("name", ["mlp", "vgg32_skip", *SLOW])
def test_batches_that_fit_memory_change_nothing(name: str, tmp_path: Path, monkeypatch) -> None:
    model = fastsep.load(lively_run(tmp_path / "run", MODELS[name]), device="cpu")
    frames = frames_of(model)
    whole = model.forecast(frames, 5), *model.encode(frames)[-1:], model.roll_out(model.encode(frames)[1], 5)
    for at_once in (1, 4, 11):
        monkeypatch.setattr("fastsep.inference.forecaster.frames_at_once", lambda *_, at_once=at_once: at_once)
        static, dynamic = model.encode(frames)
        trajectory = model.roll_out(dynamic, 5)
        for now, before in zip((model.forecast(frames, 5), dynamic, trajectory), whole, strict=True):
            assert apart(now, before) < ROUNDING
        one_by_one = np.stack([model.decode(static, trajectory[:, k]) for k in range(5)], 1)
        assert apart(model.decode(static, trajectory), one_by_one) < ROUNDING


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([[1.0]], "frames is of list: a NumPy array or a tensor (sequences, frames, 1, 100) is needed"),
        (np.zeros((2, 100)), "frames has shape (2, 100): (sequences, frames, 1, 100), or one sequence without"),
        (np.zeros((3, 2, 1, 50)), "frames has shape (3, 2, 1, 50): (sequences, frames, 1, 100)"),
        (np.zeros((3, 1, 1, 100)), "frames has 1 frames a sequence: at least 2 are needed"),
        (np.zeros((3, 2, 1, 100), np.uint8), "frames holds uint8: floating-point numbers in the data's units"),
        (np.zeros((3, 2, 1, 100), object), "frames holds object"),
        (torch.zeros(3, 2, 1, 100, dtype=torch.complex64), "frames holds torch.complex64"),
        (np.full((2, 1, 100), np.inf), "frames holds inf in float32 at (0, 0, 0): finite numbers are needed"),
        (np.full((3, 2, 1, 100), 1e300), "frames holds inf in float32 at (0, 0, 0, 0)"),
        (np.linspace(0, 255, 200).reshape(2, 1, 100), "goes from 0 to 255: the run was trained on frames of 0 to 1"),
    ],
)
def test_frames_that_do_not_fit_are_refused(frames, words: str, points: Forecaster) -> None:
    for call in (lambda: points.forecast(frames, 2), lambda: points.encode(frames)):
        with pytest.raises(ValueError) as error:
            call()
        assert words in str(error.value)


def test_other_arguments_that_do_not_fit_are_refused(points: Forecaster) -> None:
    frames = frames_of(points)
    static, dynamic = points.encode(frames)
    for horizon in (0, -1, 1.5, True, "3", None, 10**7):
        with pytest.raises(ValueError, match=r"horizon is .*: a whole number from 1 to 1,000,000 is needed"):
            points.forecast(frames, horizon)
    for call, words in (
        (lambda: points.swap(frames, frames[:2], 2), "content is a NumPy array of 3 sequences, motion is"),
        (lambda: points.swap(frames, torch.from_numpy(frames), 2), "motion is a tensor of 3 sequences"),
        (lambda: points.swap(frames, frames[0], 2), "motion is a NumPy array of one sequence"),
        (lambda: points.decode(static, dynamic[:, :2]), r"T has shape \(3, 2\): \(sequences, 3\)"),
        (lambda: points.decode(static[:, :2], dynamic), r"S has shape \(3, 2\): \(sequences, 3\)"),
        (lambda: points.decode((static, static), dynamic), "S has 2 parts: 1 are needed"),
        (lambda: points.decode(static[:2], dynamic), "S is a NumPy array of 2 sequences"),
        (lambda: points.decode(static, dynamic * np.nan), "T holds nan"),
        (lambda: points.roll_out(dynamic, 0), "frames is 0: a whole number"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_runs_and_devices_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        fastsep.load(tmp_path)
    with pytest.raises(UserError, match="there is no device"):
        fastsep.load(OLD_RUN, device="abacus")


def test_the_program_around_keeps_its_settings_and_numbers(points: Forecaster) -> None:
    frames = torch.from_numpy(frames_of(points))
    expected = points.forecast(frames, 3)
    torch.set_float32_matmul_precision("medium")
    torch.set_default_dtype(torch.float64)
    state = torch.get_rng_state()
    try:
        with torch.autocast("cpu", torch.bfloat16):
            future = fastsep.load(OLD_RUN, device="cpu").forecast(frames, 3)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(future, expected) and torch.equal(torch.get_rng_state(), state)
    weight = torch.ones((), requires_grad=True)
    (weight * future).sum().backward()  # as any other tensor, in the caller's graph


def test_settings_come_back_when_the_last_of_several_threads_leaves() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        first, second = exact_products(), exact_products()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert torch.get_float32_matmul_precision() == "highest"
        second.__exit__(None, None, None)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


SCRIPT = """
import sys
import fastsep
assert not {"torch", "numpy", "h5py", "tyro"} & set(sys.modules)
import torch
torch.backends.fp32_precision = "tf32"  # PyTorch's newer way to ask for rounding, which the older one refuses to read
torch.backends.mkldnn.matmul.fp32_precision = "bf16"
model = fastsep.load(sys.argv[1], device="cpu")
frames = torch.linspace(0, 1, 3 * 2 * 100).view(3, 2, 1, 100)
torch.save(model.forecast(frames, 4), sys.argv[2])
assert not {"matplotlib", "tyro.cli"} & set(sys.modules)
assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
assert torch.backends.cudnn.conv.fp32_precision == "tf32"
"""


def test_importing_is_light_and_newer_settings_of_pytorch_are_understood(points: Forecaster, tmp_path: Path) -> None:
    file = tmp_path / "forecast.pt"
    done = subprocess.run([sys.executable, "-c", SCRIPT, OLD_RUN, file], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    frames = torch.linspace(0, 1, 3 * 2 * 100).view(3, 2, 1, 100)
    assert torch.equal(torch.load(file), points.forecast(frames, 4))


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*KINDS, "resnet", "sst_skip"])
def test_on_a_gpu(name: str, tmp_path: Path) -> None:
    run = lively_run(tmp_path / "run", MODELS[name])
    here, there = fastsep.load(run, device="cpu"), fastsep.load(run, device="cuda")
    frames = frames_of(here)
    expected = here.forecast(frames, 4)
    assert apart(there.forecast(frames, 4), expected) < 10 * ROUNDING
    future = there.forecast(torch.from_numpy(frames).cuda(), 4)
    assert future.is_cuda and apart(future, expected) < 10 * ROUNDING
