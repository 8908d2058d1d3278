"""Runs of version 0.1.0 as it first trained them: they load, score and go on as they did then.

``fixtures/run_0.1.0`` is such a run, a narrow ``wave100`` after 8 steps with its own ``metrics.json``;
``fixtures/weights_0.1.0.json`` names the weights of every network, batch norms starred.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from command_line import run_command
from network_cases import CONFIGS

from fastsep.config import ModelConfig
from fastsep.evaluation import evaluate_run
from fastsep.model import SeparableModel
from fastsep.runs.checkpoint import load_model

FIXTURES = Path(__file__).parents[1] / "fixtures"
SST = {"encoder": "sst", "decoder": "sst", "nt_cond": 2, "offset": 0}
NETWORKS = {name: CONFIGS[name] for name in ("mlp", "dcgan_skip", "vgg32_skip", "vgg64", "resnet")}
NETWORKS |= {"sst": ModelConfig(**SST), "sst_skip": ModelConfig(skip=True, **SST)}
AFTER_16_STEPS = [0.16037485867738724, 0.15794051587581634, 0.15561848908662795, 0.15340598583221435]
"""The mean squared errors at t+1 to t+4 that version 0.1.0 came to when it trained the run further."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "run_0.1.0", tmp_path / "run"))


def test_its_scores_are_the_same(run: Path) -> None:
    kept = json.loads((run / "metrics.json").read_text())
    scores = evaluate_run(run, device="cpu", figures=False, progress=False)
    assert set(scores["curves"]) == set(kept["curves"])
    for predictor in ("model", "persistence"):  # the mean frame was that of windows, not of sequences
        assert scores["curves"][predictor]["mse"] == pytest.approx(kept["curves"][predictor]["mse"], rel=1e-6)
    for name in ("dataset", "step", "windows", "conditioning_frames", "horizon", "trained_on_these_data", "labels"):
        assert scores[name] == kept[name]


def test_its_model_forecasts(run: Path) -> None:
    model, config, _ = load_model(run)
    frames = torch.rand(3, config.model.nt_cond, *config.model.shape)
    with torch.inference_mode():
        assert model.forecast(frames, 5).isfinite().all()


def test_it_goes_on_as_it_would_have_then(run: Path, capsys) -> None:
    how = ["--resume", run, "--steps", 16, "--checkpoint-every", 16, "--no-score"]
    status, _, errors = run_command("train", *how, capsys=capsys)
    assert status == 0, errors
    scores = evaluate_run(run, device="cpu", figures=False, progress=False)
    assert scores["step"] == 16
    assert scores["curves"]["model"]["mse"] == pytest.approx(AFTER_16_STEPS, rel=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_have_the_names_they_had(name: str) -> None:
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    wanted = []
    for owner in json.loads((FIXTURES / "weights_0.1.0.json").read_text())[name].split():
        wanted += [f"{owner.rstrip('*')}.{leaf}" for leaf in (norm if owner.endswith("*") else norm[:2])]
    with torch.device("meta"):
        assert list(SeparableModel(NETWORKS[name]).state_dict()) == wanted
