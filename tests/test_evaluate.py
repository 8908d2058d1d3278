"""``python -m fastsep.evaluate`` on small runs with fresh weights."""

from __future__ import annotations

import errno
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import run_command

from fastsep.config import Config, ModelConfig, ObjectiveConfig
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.wave.settings import Wave100
from fastsep.errors import UserError
from fastsep.evaluation import evaluate_run
from fastsep.model import SeparableModel
from fastsep.runs.checkpoint import load_model, save_checkpoint
from fastsep.runs.directory import create_run


def make_run(path, config: Config):
    create_run(path, config)
    save_checkpoint(path, 7, SeparableModel(config.model))
    return path


@pytest.fixture(scope="module")
def wave_run(tmp_path_factory):
    model = ModelConfig(
        shape=(1, 100), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4, enc_hidden_size=8,
        dec_hidden_size=8, res_hidden_size=8,
    )  # fmt: skip
    config = Config(data=Wave100(size=10, frames=100), model=model, objective=ObjectiveConfig(nt_pred=20))
    return make_run(tmp_path_factory.mktemp("runs") / "wave100", config)


@pytest.fixture(scope="module")
def mnist_run(tmp_path_factory):
    model = ModelConfig(enc_hidden_size=4, dec_hidden_size=4, code_size_s=8, code_size_t=4, res_hidden_size=8)
    config = Config(data=MovingMNIST(digits="sklearn", test_videos=3, test_frames=16), model=model)
    return make_run(tmp_path_factory.mktemp("runs") / "mnist", config)


def test_wave_run_end_to_end(wave_run, capsys):
    status, out, _ = run_command("evaluate", wave_run, "--device", "cpu", capsys=capsys)
    assert status == 0
    assert "t+40" in out and "persistence" in out and "mean frame" in out and "metrics.json" in out
    result = json.loads((wave_run / "metrics.json").read_text())
    assert result["windows"] == 2 * (50 - 45 + 1) and result["step"] == 7 and result["horizon"] == 40
    for predictor in ("model", "persistence", "mean frame"):
        curve = result["curves"][predictor]["mse"]
        assert len(curve) == 40
        assert result["scores"][predictor]["mse"]["40"] == pytest.approx(np.mean(curve))
    files = {path.name for path in (wave_run / "figures").iterdir()}
    assert files == {"forecast.png", "series.png", "error.png", "latent.png", "forecast.gif"}
    assert sorted(result["figures"]) == sorted(f"figures/{name}" for name in files)


def test_image_run_with_swaps(mnist_run, capsys):
    status, out, _ = run_command("evaluate", mnist_run, "--swap", "--device", "cpu", "--batch-size", 2, capsys=capsys)
    assert status == 0
    assert "not MNIST" in out  # scores on other digits say so
    result = json.loads((mnist_run / "metrics.json").read_text())
    assert result["horizon"] == 10  # the longest published horizon that 16 frames allow
    assert set(result["scores"]["model"]) == set(result["swap"]) == {"mse", "psnr", "ssim"}
    assert {"strips.png", "swap.png"} <= {path.name for path in (mnist_run / "figures").iterdir()}


def test_scores_say_of_which_weights_they_are(tmp_path, wave_run, capsys):
    _, config, _ = load_model(wave_run)
    run = make_run(tmp_path / "run", replace(config, optim=replace(config.optim, ema=0.999)))
    for path, words in ((run, "step 7, weights averaged over steps with decay 0.999:"), (wave_run, "step 7:")):
        status, out, _ = run_command("evaluate", path, "--no-figures", "--horizon", 1, capsys=capsys)
        assert status == 0 and words in out
    assert [json.loads((path / "metrics.json").read_text())["ema"] for path in (run, wave_run)] == [0.999, None]


def test_numbers_of_numpy_are_numbers(wave_run):
    found = evaluate_run(
        wave_run, horizon=np.int64(7), device="cpu", batch_size=np.int32(5), figures=False, progress=False
    )
    assert found["horizon"] == json.loads((wave_run / "metrics.json").read_text())["horizon"] == 7


def test_horizon_and_no_figures(mnist_run):
    result = evaluate_run(mnist_run, horizon=3, figures=False, progress=False)
    assert list(result["scores"]["model"]["mse"]) == ["3"] and "figures" not in result and "swap" not in result


@pytest.mark.parametrize("command", ["evaluate", "forecast", "export"])
def test_the_best_checkpoint_can_be_asked_for(command, tmp_path, wave_run, capsys):
    """The newest is the only one of this run, and was not validated."""
    np.save(tmp_path / "x.npy", np.random.rand(1, 5, 1, 100).astype(np.float32))
    arguments = {
        "evaluate": [], "forecast": [tmp_path / "x.npy", "--horizon", 2, "--out", tmp_path / "y.npy"],
        "export": ["--out", tmp_path / "m.pt2"],
    }[command]  # fmt: skip
    status, _, error = run_command(command, wave_run, *arguments, "--best", capsys=capsys)
    assert status == 2 and "holds no whole checkpoint with an error of validation: leave out --best" in error


@pytest.mark.parametrize("horizon", [1, 11])
def test_any_horizon_that_fits(mnist_run, horizon):
    result = evaluate_run(mnist_run, horizon=horizon, figures=False, progress=False)
    assert str(horizon) in result["scores"]["model"]["mse"]


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--horizon", "46"], "shorter|longer|fits"),
        (["--horizon", "0"], "set --horizon to a whole number from 1"),
        (["--batch-size", "-1"], "set --batch-size to a whole number from 1"),
        (["--swap"], "no ground truth"),
        (["--device", "tpu"], "device"),
        (["--data", "absent.h5"], "absent.h5"),
    ],
)
def test_bad_input_is_one_line(wave_run, capsys, arguments, cause):
    import re

    status, _, err = run_command("evaluate", wave_run, *arguments, capsys=capsys)
    assert status == 2
    message = err.strip().splitlines()[-1]
    assert message.startswith("error: ") and re.search(cause, message)
    assert "Traceback" not in err


def test_missing_run_and_damaged_checkpoint(tmp_path, mnist_run, capsys):
    status, _, err = run_command("evaluate", tmp_path / "absent", capsys=capsys)
    assert status == 2 and "holds no run" in err
    run = tmp_path / "damaged"
    run.mkdir()
    (run / "config.json").write_text((mnist_run / "config.json").read_text())
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    (run / "checkpoints" / "step-00000001" / "weights.safetensors").write_bytes(b"broken")
    status, _, err = run_command("evaluate", run, capsys=capsys)
    assert status == 2 and "damaged" in err


def test_weights_of_another_preset_are_refused(tmp_path, wave_run, mnist_run):
    run = tmp_path / "mixed"
    run.mkdir()
    (run / "config.json").write_text((mnist_run / "config.json").read_text())
    (run / "checkpoints").symlink_to(wave_run / "checkpoints")
    with pytest.raises(UserError, match="does not fit"):
        evaluate_run(run, progress=False)


def test_scores_stay_when_a_later_evaluation_fails(mnist_run):
    evaluate_run(mnist_run, horizon=2, figures=False, progress=False)
    kept = (mnist_run / "metrics.json").read_text()
    with pytest.raises(UserError):
        evaluate_run(mnist_run, horizon=99, figures=False, progress=False)
    assert (mnist_run / "metrics.json").read_text() == kept


def scaled(tmp_path, source, factor):
    """A run whose integrator's weights are that many times those of ``source``."""
    run = tmp_path / "scaled"
    model, config, _ = load_model(source)
    with torch.no_grad():
        for parameter in model.integrator.parameters():
            parameter *= factor
    create_run(run, config)
    save_checkpoint(run, 7, model)
    return run


def test_forecasts_that_are_not_finite_are_said_and_null(tmp_path, wave_run, capsys):
    run = scaled(tmp_path, wave_run, 1e6)
    status, out, err = run_command("evaluate", run, "--device", "cpu", capsys=capsys)
    assert status == 0 and "Traceback" not in err
    text = (run / "metrics.json").read_text()
    result = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    values = result["curves"]["model"]["mse"]
    assert "persistence" in out and len(values) == 40
    assert result["scores"]["persistence"]["mse"]["40"] > 0
    assert None in values and "are not finite" in err
    assert "figures/error.png" in result["figures"]


def test_scores_are_written_before_pictures_are_drawn(wave_run, monkeypatch):
    (wave_run / "metrics.json").unlink(missing_ok=True)

    def broken(*_):
        assert json.loads((wave_run / "metrics.json").read_text())["scores"]
        raise RuntimeError("no pictures")

    monkeypatch.setattr("fastsep.evaluation.run.draw_figures", broken)
    with pytest.raises(RuntimeError, match="no pictures"):
        evaluate_run(wave_run, horizon=2, progress=False)
    assert list(json.loads((wave_run / "metrics.json").read_text())["scores"]["model"]["mse"]) == ["2"]


def test_scores_are_printed_where_they_cannot_be_written(tmp_path, wave_run, monkeypatch, capsys):
    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    evaluate_run(wave_run, horizon=3, figures=False, progress=False)
    kept = (wave_run / "metrics.json").read_text()
    monkeypatch.setattr("fastsep.evaluation.run.write_text", full_disk)
    status, out, err = run_command("evaluate", wave_run, "--horizon", 2, "--device", "cpu", capsys=capsys)
    assert status == 2 and "persistence" in out and "t+2" in out
    assert "metrics.json (No space left on device): free some on the disk of" in err
    assert (wave_run / "metrics.json").read_text() == kept


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path, wave_run, capsys):
    run = tmp_path / "run"
    model, config, _ = load_model(wave_run)
    create_run(run, config)
    for step in (7, 8):
        save_checkpoint(run, step, model)
    weights = run / "checkpoints" / "step-00000008" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (run / "checkpoints" / "step-00000009.bak").mkdir()
    status, out, err = run_command("evaluate", run, "--horizon", 2, "--no-figures", "--device", "cpu", capsys=capsys)
    assert status == 0 and "step 7" in out
    (warning,) = [line for line in err.splitlines() if "warning" in line]
    assert "step-00000008 is damaged" in warning and "using" in warning and "step-00000007" in warning
    assert json.loads((run / "metrics.json").read_text())["step"] == 7


def test_a_log_that_is_no_log_costs_a_picture(wave_run, monkeypatch, capsys):
    logs = []
    monkeypatch.setattr("fastsep.evaluation.run.draw_figures", lambda *values: logs.append(values[-1]) or [])
    (wave_run / "log.csv").write_bytes(b"\xff\xfe\x00")
    evaluate_run(wave_run, horizon=2, progress=False)
    (wave_run / "log.csv").unlink()
    assert logs == [[]] and "log.csv is not read as a log" in capsys.readouterr().err
