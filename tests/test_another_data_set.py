"""A data set more is a folder and a line in ``DATASETS``: it then trains, is scored and drawn like the others."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from command_line import run_command

from fastsep.data import DATASETS

SETTINGS = '''
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastsep.data.base import DataConfig
from fastsep.settings import Range


@dataclass(frozen=True)
class Ripples(DataConfig):
    """Ripples on a pond, made in memory."""

    name: ClassVar[str] = "ripples"
    module: ClassVar[str] = "ripples.reader"

    ponds: Annotated[int, Range(2, 1000)] = 8
    """Sequences."""
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
    return TensorWindows(part.contiguous().to(device), all_starts(len(part), 30, cond + pred), cond + pred)
"""


@pytest.fixture
def ripples(tmp_path, monkeypatch):
    folder = tmp_path / "ripples"
    folder.mkdir()
    for name, text in (("__init__", ""), ("settings", SETTINGS), ("reader", READER)):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("ripples.settings").Ripples
    monkeypatch.setitem(DATASETS, "ripples", kind)  # the line
    yield kind
    for name in [name for name in sys.modules if name.split(".")[0] == "ripples"]:
        del sys.modules[name]


def test_another_data_set_trains_is_scored_and_drawn(ripples, tmp_path, capsys):
    status, out, _ = run_command("train", "--help", capsys=capsys)
    assert status == 0 and "ripples" in out and "Ripples on a pond" in out
    run = tmp_path / "run"
    arguments = ["--out", run, "--ponds", "6", "--steps", "4", "--device", "cpu", "--checkpoint-every", "2"]
    narrow = ["--enc-hidden-size", "8", "--dec-hidden-size", "8", "--res-hidden-size", "8"]
    status, out, err = run_command("train", "ripples", *arguments, *narrow, capsys=capsys)
    assert status == 0, err
    assert "mlp encoder and decoder" in out and "pace: batches of 8" in out
    result = json.loads((run / "metrics.json").read_text())
    assert result["dataset"] == "ripples" and result["labels"] == {"mse": "MSE"}
    assert set(result["scores"]) == {"model", "persistence"}
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert drawn >= {"forecast.png", "strips.png", "swap.png", "error.png", "latent.png", "forecast.gif"}
    status, _, err = run_command("train", "--resume", run, "--steps", "6", "--no-score", capsys=capsys)
    assert status == 0, err
