"""A run knows which data it was trained on, and evaluation says when it gets others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fastsep.config import Config, ModelConfig, ObjectiveConfig
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.data.wave.settings import Wave100
from fastsep.data.windows import Windows
from fastsep.errors import UserError
from fastsep.evaluation import evaluate_run
from fastsep.model import SeparableModel
from fastsep.runs.checkpoint import save_checkpoint
from fastsep.runs.data_record import record_data, same_data, warn_of_other_frames
from fastsep.runs.directory import create_run

CPU = torch.device("cpu")
MODEL = ModelConfig(
    shape=(1, 100), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4, enc_hidden_size=8,
    dec_hidden_size=8, res_hidden_size=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files of a 32 and a 64 grid, and of another seed, and a run on the second one."""
    home = tmp_path_factory.mktemp("data")
    for name, grid, seed in (("small", 32, 42), ("usual", 64, 42), ("other", 64, 43)):
        generate(home / name, WaveSettings(5, 40, grid, seed=seed), CPU)
    config = Config(data=Wave100(data=home / "usual"), model=MODEL, objective=ObjectiveConfig(nt_pred=5))
    create_run(home / "run", config)
    save_checkpoint(home / "run", 1, SeparableModel(MODEL))
    record_data(home / "run", config.data, config.data.open("train", 5, 5, CPU))
    return home


def scores(home, capsys, **options):
    result = evaluate_run(home / "run", horizon=5, figures=False, progress=False, **options)
    kept = json.loads((home / "run" / "metrics.json").read_text())
    assert kept["trained_on_these_data"] == result["trained_on_these_data"]
    return result["trained_on_these_data"], capsys.readouterr().err


def test_the_same_data_are_scored_without_a_word_wherever_they_lie(made, capsys, tmp_path):
    assert scores(made, capsys) == (True, "")
    (tmp_path / "copy.h5").write_bytes((made / "usual" / "wave.h5").read_bytes())
    assert scores(made, capsys, data=tmp_path / "copy.h5") == (True, "")


def test_scores_elsewhere_leave_those_of_the_run(made, capsys, tmp_path):
    scores(made, capsys)
    before = (made / "run" / "metrics.json").read_text()
    result = evaluate_run(
        made / "run", horizon=4, data=made / "other", out=tmp_path / "new" / "place", progress=False, figures=True
    )
    assert (made / "run" / "metrics.json").read_text() == before and not (made / "run" / "figures").exists()
    assert json.loads((tmp_path / "new" / "place" / "metrics.json").read_text())["horizon"] == 4
    assert all((tmp_path / "new" / "place" / name).is_file() for name in result["figures"])


def test_other_data_are_scored_and_said_to_be_others(made, capsys):
    same, errors = scores(made, capsys, data=made / "other")
    assert not same
    assert errors == f"warning: {made / 'other'}: these are not the data that the run was trained on\n"


def test_files_and_data_made_in_memory_cannot_be_compared(made, capsys, tmp_path):
    record = tmp_path / "data.json"
    (made / "run" / "data.json").rename(record)
    config = Wave100(size=5, frames=40)
    try:
        record_data(made / "run", config, config.open("train", 5, 5, CPU))
        assert json.loads((made / "run" / "data.json").read_text())["fingerprint"] == "made in memory"
        same, errors = scores(made, capsys)
        assert same is None
        assert errors.endswith("trained on data made in memory, not on files: whether they are equal is not known\n")
    finally:
        record.replace(made / "run" / "data.json")


@pytest.mark.parametrize("digits", ["mnist", "sklearn"])
def test_test_videos_alone_cannot_be_compared_with_digits_to_train_on(digits, tmp_path, capsys):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"digits")
    (tmp_path / "videos.h5").write_bytes(b"videos")
    windows = Windows()
    record_data(tmp_path, MovingMNIST(digits=digits, data=tmp_path), windows)
    assert same_data(tmp_path, MovingMNIST(digits=digits, data=tmp_path), windows)
    assert same_data(tmp_path, MovingMNIST(digits=digits, data=tmp_path / "videos.h5"), windows) is None
    assert "videos.h5 holds test data alone: whether they go with those" in capsys.readouterr().err


def test_a_run_keeps_its_first_record(made, capsys):
    before = (made / "run" / "data.json").read_text()
    config = Wave100(data=made / "other")
    record_data(made / "run", config, config.open("train", 5, 5, CPU))
    assert "not the data that the run was trained on" in capsys.readouterr().err
    assert (made / "run" / "data.json").read_text() == before


def test_other_pixels_are_refused(made, tmp_path):
    with pytest.raises(UserError, match="are 100 pixels of a 32x32 grid, the run was trained on 100 pixels of a 64x64"):
        evaluate_run(made / "run", horizon=5, figures=False, progress=False, data=made / "small")


def test_a_run_without_a_record_is_scored_as_before(made, capsys, tmp_path):
    (made / "run" / "data.json").rename(tmp_path / "data.json")
    try:
        assert scores(made, capsys, data=made / "other") == (None, "")
        for text in ("", "[]", "{}", "[" * 10_000):
            (made / "run" / "data.json").write_text(text)
            assert scores(made, capsys, data=made / "other") == (None, "")
    finally:
        (tmp_path / "data.json").replace(made / "run" / "data.json")


def test_from_another_directory_the_runs_own_data_are_scored(tmp_path, monkeypatch, capsys):
    """Each of two directories has a ``w``; the run was trained on the first one's."""
    for name, seed in (("a", 1), ("b", 2)):
        generate(tmp_path / name / "w", WaveSettings(5, 40, 64, seed=seed), CPU)
    monkeypatch.chdir(tmp_path / "a")
    config = Config(data=Wave100(data="w"), model=MODEL, objective=ObjectiveConfig(nt_pred=5))
    create_run(tmp_path / "run", config)
    save_checkpoint(tmp_path / "run", 1, SeparableModel(MODEL))
    record_data(tmp_path / "run", config.data, config.data.open("train", 5, 5, CPU))
    monkeypatch.chdir(tmp_path / "b")
    capsys.readouterr()
    assert scores(tmp_path, capsys) == (True, "")


@pytest.mark.parametrize(
    ("step", "last_row", "warning"),
    [
        ("frames of 1 day", "north", ""),
        ("frames of 24 hours", "", ""),
        ("frames", "north", ""),
        (
            "frames of 2 days",
            "north",
            "x.nc has frames of 2 days, the run was trained on frames of 1 day: a forecast goes by ",
        ),
        (
            "frames of 1 day",
            "south",
            "x.nc has the south in its last row, what the run was trained on the north: turn ",
        ),
    ],
)
def test_frames_at_other_steps_or_upside_down_are_said(step, last_row, warning, tmp_path, capsys):
    windows = Windows()
    windows.step, windows.last_row = "frames of 1 day", "north"
    record_data(tmp_path, Wave100(), windows)
    warn_of_other_frames(tmp_path, Path("x.nc"), step, last_row)
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {warning}") and said.count("\n") == 1 if warning else not said
    (tmp_path / "data.json").write_text('{"fingerprint": "of an earlier version"}')
    warn_of_other_frames(tmp_path, Path("x.nc"), step, last_row)
    assert not capsys.readouterr().err
