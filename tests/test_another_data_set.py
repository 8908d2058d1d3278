"""A data set more is a folder and its place in ``DATASETS``: it then trains, is scored and drawn like the others."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
from command_line import run_command
from matplotlib.colors import to_hex

import fastsep
from fastsep.data import DATASETS
from fastsep.drawing import gallery
from fastsep.drawing.curves import error_figure
from fastsep.errors import UserError
from fastsep.inference.given import open_given

SETTINGS = '''
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastsep.data.appearance import Appearance
from fastsep.data.base import DataConfig, Values
from fastsep.settings import Range


@dataclass(frozen=True)
class Ripples(DataConfig):
    """Ripples on a pond, made in memory."""

    name: ClassVar[str] = "ripples"
    module: ClassVar[str] = "ripples.reader"

    ponds: Annotated[int, Range(2, 1000)] = 8
    """Sequences."""


@dataclass(frozen=True)
class Rings(Ripples):
    """The same with all that a data set can have of its own."""

    name: ClassVar[str] = "rings"
    protocol: ClassVar[str] = "ripples.protocol:RingsProtocol"
    appearance: ClassVar[Appearance] = Appearance("Rings", "height [cm]")
    values: ClassVar[Values] = "standard"
    newest_first: ClassVar[bool] = True

    def refusal(self, path):
        return f"{path} holds stones" if path.stem == "stones" else ""
'''
READER = """
import torch

from fastsep.data.windows import TensorWindows, all_starts


def open_windows(config, split, cond, pred, device):
    place, time = torch.linspace(0, 12, 20), torch.arange(30.0)
    speed = 1 + torch.arange(config.ponds) / config.ponds
    phase = place[:, None] + place - speed[:, None, None, None] * time[:, None, None] / 5  # (N, T, 20, 20)
    frames = phase.sin()[:, :, None]
    part = frames[:-2] if split == "train" else frames[-2:]
    starts = all_starts(len(part), 30, cond + pred)
    return TensorWindows(part.contiguous().to(device), starts, cond + pred, config.newest_first)
"""
PROTOCOL = """
from fastsep.evaluation.protocols import Metric, Protocol


class RingsProtocol(Protocol):
    horizons = (3,)
    metrics = {"mse": Metric("MSE [cm²]")}

    def baselines(self, batch):
        return super().baselines(batch) | {"still water": batch.truth * 0, "what comes": batch.truth}
"""
NARROW = ["--enc-hidden-size", "8", "--dec-hidden-size", "8", "--res-hidden-size", "8"]


@pytest.fixture
def ripples(tmp_path, monkeypatch):
    folder = tmp_path / "ripples"
    folder.mkdir()
    for name, text in (("__init__", ""), ("settings", SETTINGS), ("reader", READER), ("protocol", PROTOCOL)):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    settings = importlib.import_module("ripples.settings")
    for kind in (settings.Ripples, settings.Rings):
        monkeypatch.setitem(DATASETS, kind.name, kind)  # its place
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "ripples"]:
        del sys.modules[name]


def test_another_data_set_trains_is_scored_and_drawn(ripples, tmp_path, capsys):
    status, out, _ = run_command("train", "--help", capsys=capsys)
    assert status == 0 and "ripples" in out and "Ripples on a pond" in out
    run = tmp_path / "run"
    arguments = ["--out", run, "--ponds", "6", "--steps", "4", "--device", "cpu", "--checkpoint-every", "2"]
    status, out, err = run_command("train", "ripples", *arguments, *NARROW, capsys=capsys)
    assert status == 0, err
    assert "mlp encoder and decoder" in out and "pace: batches of 8" in out
    result = json.loads((run / "metrics.json").read_text())
    assert result["dataset"] == "ripples" and result["labels"] == {"mse": "MSE"}
    assert set(result["scores"]) == {"model", "persistence"}
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert drawn >= {"forecast.png", "strips.png", "swap.png", "error.png", "latent.png", "forecast.gif"}
    status, _, err = run_command("train", "--resume", run, "--steps", "6", "--no-score", capsys=capsys)
    assert status == 0, err


def test_it_may_bring_its_own_scores_look_and_facts(ripples, tmp_path, monkeypatch, capsys):
    run, figures = tmp_path / "run", []
    monkeypatch.setattr(gallery, "error_figure", lambda *of: figures.append(error_figure(*of)) or figures[-1])
    status, _, err = run_command(
        "train", "rings", "--out", run, "--steps", "1", "--device", "cpu", *NARROW, capsys=capsys
    )
    assert status == 0, err
    result = json.loads((run / "metrics.json").read_text())
    assert result["labels"] == {"mse": "MSE [cm²]"} and "3" in result["scores"]["model"]["mse"]
    assert list(result["scores"]) == ["model", "persistence", "still water", "what comes"]
    assert result["scores"]["what comes"]["mse"]["3"] == 0 < result["scores"]["still water"]["mse"]["3"]
    (figure,) = figures
    assert figure.get_suptitle().startswith("Rings: ")
    assert len({to_hex(line.get_color()) for line in figure.axes[0].lines}) == 4

    model = fastsep.load(run, "cpu")
    frames = np.random.RandomState(0).standard_normal((1, model.nt_cond, *model.shape)).astype(np.float32)
    assert model.backwards and model.forecast(frames, 2).shape == (1, 2, *model.shape)
    with pytest.raises(ValueError, match="mean 0 and deviation 1"):
        model.forecast(9 * frames, 2)
    with pytest.raises(UserError, match="holds stones"):
        open_given(tmp_path / "stones.npy", model, (), None, None)
