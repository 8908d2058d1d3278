"""A signal at any place of any command: it ends with the signal's status, and its files are the old or the new ones."""

from __future__ import annotations

import shutil
import signal
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from command_line import run_command
from golden_cases import build_model
from PIL import Image
from run_cases import HOLES, WITH_HOLES, lively_run
from test_evaluate import make_run
from test_import_official import authors, write_official_run  # noqa: F401 - a fixture

from fastsep.config import Config, ModelConfig, ObjectiveConfig
from fastsep.data.wave.settings import Wave100
from fastsep.runs.checkpoint import load_model

SOURCE = str(Path(__file__).parents[1] / "fastsep")
Ended = tuple[int, str, str]  # exit status, stdout, stderr
slow = partial(pytest.param, marks=pytest.mark.slow)
PLACES = [8, slow(200)]  # of each command, spread over all that it calls


def wave(home: Path) -> list[list]:
    small = ["gen_wave", "--out", home / "out", "--size", 2, "--frames", 8, "--grid", 16]
    return [[*small, "--seed", 1], [*small, "--seed", 2]]


def wave_pt(home: Path) -> list[list]:
    return [[*arguments, "--format", "pt"] for arguments in wave(home)]


def mnist(home: Path) -> list[list]:
    small = ["gen_mnist", "--out", home / "out" / "videos.h5", "--digits", "sklearn", "--videos", 60, "--frames", 3]
    return [[*small, "--seed", 1], [*small, "--seed", 2]]


def example(home: Path) -> list[list]:
    small = ["gen_example", "layers", "--out", home / "out" / "x.h5", "--size", 2, "--frames", 5]
    return [[*small, "--seed", 1], [*small, "--seed", 2]]


def chairs(home: Path) -> list[list]:
    for colour in (1, 2):
        renders = home / f"source{colour}" / "chair" / "renders"
        renders.mkdir(parents=True)
        Image.new("RGB", (600, 600), (colour, 2, 3)).save(renders / "0.png", compress_level=1)
        for view in range(1, 62):
            (renders / f"{view}.png").symlink_to(renders / "0.png")
    return [["prepare_chairs", home / f"source{colour}", "--out", home / "out" / "chairs.npy"] for colour in (1, 2)]


def sst(home: Path) -> list[list]:
    days = np.arange("2001-01-01", "2002-04-15", dtype="datetime64[D]").astype("datetime64[ns]")
    axes = {"time": days, "latitude": np.arange(64) / 12, "longitude": np.arange(130) / 12}
    values = 15 + np.random.RandomState(0).normal(0, 1, (len(days), 64, 130)).astype(np.float32)
    array = xarray.DataArray(values, axes, ("time", "latitude", "longitude"), "thetao")
    for name, zones in (("source1", array), ("source2", array.isel(longitude=slice(64)))):  # two zones, then one
        (home / name).mkdir()
        zones.to_dataset().to_netcdf(home / name / "a.nc", engine="h5netcdf")
    return [["prepare_sst", home / name, "--out", home / "out"] for name in ("source1", "source2")]


def evaluation(home: Path) -> list[list]:
    model = ModelConfig(
        shape=(1, 100), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4, enc_hidden_size=8,
        dec_hidden_size=8, res_hidden_size=8,
    )  # fmt: skip
    config = Config(data=Wave100(size=10, frames=60), model=model, objective=ObjectiveConfig(nt_pred=20))
    make_run(home / "out", config)
    small = ["evaluate", home / "out", "--no-figures", "--device", "cpu"]
    return [[*small, "--horizon", 3], [*small, "--horizon", 5]]


def forecast(home: Path) -> list[list]:
    run, out = lively_run(home / "run", WITH_HOLES, HOLES), home / "out"
    np.save(home / "frames.npy", HOLES.unscale(np.random.RandomState(0).rand(5, 2, 2, 4, 5).astype(np.float32)))
    small = ["forecast", run, home / "frames.npy", "--device", "cpu", "--out"]
    return [[*small, out / "f.nc", "--horizon", 2], [*small, out / "f.nc", "--horizon", 3]]


def forecast_npz(home: Path) -> list[list]:
    return [[word if word != home / "out" / "f.nc" else home / "out" / "f.npz" for word in c] for c in forecast(home)]


def export(home: Path) -> list[list]:
    run = lively_run(home / "run", WITH_HOLES, HOLES)
    return [["export", run, "--out", home / "out" / "m.pt2", "--horizon", horizon] for horizon in (2, 3)]


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Names and contents; scores without the seconds that they took, programs, whose bytes differ, as what they are."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if "metrics.json" in files:
        files["metrics.json"] = files["metrics.json"].split(b'"seconds"')[0]
    if "m.pt2" in files:
        with zipfile.ZipFile(folder / "m.pt2") as program:
            assert program.testzip() is None
            (facts,) = (name for name in program.namelist() if name.endswith("fastsep.json"))
            files["m.pt2"] = program.read(facts)
    return files


def call_count(run: Callable[[], Ended], stop_at: int | None = None) -> tuple[Ended, int]:
    """What ``run`` returns and how many functions of the program it called; a signal comes at one of them."""
    calls = 0

    def count(frame, event: str, argument: object) -> None:
        nonlocal calls
        if event == "call" and frame.f_code.co_filename.startswith(SOURCE):
            calls += 1
            if calls == stop_at:
                signal.raise_signal(signal.SIGTERM)

    sys.setprofile(count)
    try:
        ended = run()
    finally:
        sys.setprofile(None)
    return ended, calls


@pytest.fixture(autouse=True)
def _outside_of_the_command():
    """Before a command heeds signals and after, its process ends; here that ends the command alone."""

    def leave(signum: int, frame: object) -> None:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    yield
    signal.signal(signal.SIGTERM, before)


COMMANDS = [wave, wave_pt, mnist, example, chairs, sst, evaluation, forecast]


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("command", "places"),
    [
        *((command, 8) for command in COMMANDS),
        *(slow(command, 200) for command in (*COMMANDS, forecast_npz)),
        slow(export, 30),  # which takes a second or two
    ],
)
def test_a_signal_leaves_the_old_files_or_the_new_ones(command, places: int, tmp_path: Path, capsys) -> None:
    first, second = command(tmp_path)
    assert run_command(*second, capsys=capsys)[0] == 0
    new = snapshot(tmp_path / "out")
    assert run_command(*first, capsys=capsys)[0] == 0
    old = snapshot(tmp_path / "out")
    assert old != new
    _, calls = call_count(lambda: run_command(*first, capsys=capsys))
    statuses = []
    for place in np.linspace(1, calls, places).astype(int):
        (status, _, error), _ = call_count(lambda: run_command(*second, capsys=capsys), int(place))
        assert not any(word in error for word in ("Traceback", "ignored", "Error")), error
        statuses.append(status)
        now = snapshot(tmp_path / "out")
        assert now in (old, new), sorted(now)
        if now == new:
            assert run_command(*first, capsys=capsys)[0] == 0
    assert 143 in statuses and set(statuses) <= {0, 143}


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("places", PLACES)
def test_an_import_that_was_stopped_is_whole_or_can_be_done_again(places, tmp_path, authors, capsys):  # noqa: F811
    case = write_official_run(tmp_path / "theirs", "mnist", authors)
    expected = build_model(case).float().state_dict()
    command = ["import_official", tmp_path / "theirs", "--out", tmp_path / "out"]
    (status, *_), calls = call_count(lambda: run_command(*command, capsys=capsys))
    assert status == 0
    statuses = []
    for place in np.linspace(1, calls, places).astype(int):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (status, _, error), _ = call_count(lambda: run_command(*command, capsys=capsys), int(place))
        assert not any(word in error for word in ("Traceback", "ignored", "Error")), error
        statuses.append(status)
        again, _, error = run_command(*command, capsys=capsys)
        assert again == 0 or "already holds a run" in error
        torch.testing.assert_close(load_model(tmp_path / "out")[0].state_dict(), expected, rtol=0, atol=0)
        assert not [path for path in (tmp_path / "out").rglob(".*") if path.name != ".lock"]
    assert 143 in statuses and set(statuses) <= {0, 143}
