"""Own frames from the command line: trained, scored in their own units, drawn; and whatever cannot be, refused."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from command_line import run_command
from frames_cases import saved, waves, without_memory
from PIL import Image

from fastsep.data.scaling import NAME, Scaling
from fastsep.runs.checkpoint import load_model, newest_checkpoint
from fastsep.runs.directory import load_config

# fmt: off
SMALL = [
    "--nt-cond", "2", "--nt-pred", "3", "--enc-hidden-size", "4", "--dec-hidden-size", "4",
    "--res-hidden-size", "8", "--code-size-s", "6", "--code-size-t", "4", "--steps", "4", "--batch-size", "4",
    "--device", "cpu", "--precision", "fp32", "--log-every", "2", "--checkpoint-every", "2",
]
# fmt: on


@pytest.fixture
def command(capsys):
    return lambda *arguments: run_command("train", "frames", *arguments, capsys=capsys)


def train(command, path: Path, run: Path, *arguments: str) -> str:
    status, out, err = command("--data", path, "--out", run, *SMALL, *arguments)
    assert status == 0, err
    return out


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def test_trains_scores_and_draws_in_own_units(tmp_path, command, capsys):
    frames = waves(5, 12, (12, 16))
    frames[:, :, 2:5, 3:9] = np.nan
    run = tmp_path / "run"
    out = train(command, saved(tmp_path, frames), run)
    assert "missing: 18 of 192 cells (9.4%) are never measured and left out" in out
    assert "split: the first 4 sequences train (32 windows of 2 + 3 frames), the last 1 test" in out
    assert load_config(run).model.shape == (1, 12, 16)
    scores = metrics(run)["scores"]
    last, future = frames[4, 1:9, None], np.stack([frames[4, t + 2 : t + 5] for t in range(8)])
    error = np.sqrt(np.nanmean(np.square(future - last)))
    assert scores["persistence"]["rmse"]["3"] == pytest.approx(error, rel=1e-5)
    deviation = np.nanstd(frames[:4], dtype=np.float64)
    assert scores["persistence"]["mse"]["3"] == pytest.approx(np.square(error / deviation), rel=1e-5)
    mean = np.sqrt(np.nanmean(np.square(future - frames[:4].mean((0, 1)))))
    assert scores["mean frame"]["rmse"]["3"] == pytest.approx(mean, rel=1e-5)
    for name in ("forecast", "strips", "swap", "error"):
        assert min(Image.open(run / "figures" / f"{name}.png").size) > 300
    grey = np.asarray(Image.open(run / "figures" / "strips.png").convert("RGB"))
    assert (grey == 0xB4).all(-1).mean() > 0.005
    assert Image.open(run / "figures" / "forecast.gif").n_frames == 5

    # the forecast of the model, through the scaling that the run kept, gives the same score
    model, scaling = load_model(run)[0], Scaling.read(run, (1, 12, 16))
    cond = torch.from_numpy(np.stack([scaling.scale(frames[4, t : t + 2, None]) for t in range(8)]))
    forecast = scaling.unscale(model.forecast(cond, 3)).detach().numpy()[:, :, 0]
    own = np.sqrt(np.nanmean(np.square(future - forecast)))
    assert scores["model"]["rmse"]["3"] == pytest.approx(own, rel=1e-4)


def test_scores_of_channels_carry_their_names_and_units(tmp_path, command, capsys):
    xarray = pytest.importorskip("xarray")
    fields = {
        name: (("sample", "time", "y", "x"), size * waves(5, 12, (4, 6), seed), {"units": unit})
        for seed, (name, unit, size) in enumerate([("t", "degC", 1), ("u", "m s-1", 100)])
    }
    xarray.Dataset(fields).to_netcdf(tmp_path / "own.nc")
    run = tmp_path / "run"
    train(command, tmp_path / "own.nc", run, "--variable", "t", "u", "--no-score")
    assert run_command("evaluate", run, "--no-figures", capsys=capsys)[0] == 0
    result = metrics(run)
    assert result["labels"] == {
        "mse": "MSE (channels scaled to deviation 1)", "rmse_t": "RMSE of t [degC]", "rmse_u": "RMSE of u [m s-1]"
    }  # fmt: skip
    scores = result["scores"]["persistence"]
    for channel, (name, field) in enumerate(fields.items()):
        future, last = (np.stack([field[1][4, t + a : t + b] for t in range(8)]) for a, b in ((2, 5), (1, 2)))
        assert scores[f"rmse_{name}"]["3"] == pytest.approx(np.sqrt(np.square(future - last).mean()), rel=1e-4), channel


def test_a_run_goes_on_with_its_own_scaling_and_as_if_unbroken(tmp_path, command, capsys):
    path = saved(tmp_path, waves())
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(command, path, whole, "--schedule", "constant", "--no-score")
    train(command, path, broken, "--schedule", "constant", "--no-score", "--steps", "2")
    kept = (broken / NAME).read_text()
    other = saved(tmp_path, np.concatenate([waves(), 90 + waves(1)])[[5, 0, 1, 2, 3, 4]], "other.npy")
    status, _, err = run_command("train", "--resume", broken, "--steps", "4", capsys=capsys)
    assert status == 0, err
    ours, theirs = (load_model(run)[0].state_dict() for run in (broken, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    status, _, err = run_command("train", "--resume", broken, "--steps", "5", "--data", other, capsys=capsys)
    assert status == 0 and "these are not the data that the run was trained on" in err
    assert (broken / NAME).read_text() == kept


@pytest.mark.parametrize("had_room", [False, True])
def test_a_run_goes_on_in_its_own_order_whatever_memory_is_free_then(had_room, tmp_path, command, capsys, monkeypatch):
    path = saved(tmp_path, waves(40, 20))
    how = ["--schedule", "constant", "--no-score", "--steps"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with monkeypatch.context() as patch:
        if not had_room:
            without_memory(patch)
        train(command, path, whole, *how, "6")
        train(command, path, broken, *how, "2")
    if had_room:
        without_memory(monkeypatch)
    status, said, err = run_command("train", "--resume", broken, "--steps", "6", capsys=capsys)
    assert status == 0 and ("windows in another order" in err) == had_room
    assert ("read while the model trains, as before" in said) != had_room
    ours, theirs = (load_model(run)[0].state_dict() for run in (broken, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours) != had_room
    monkeypatch.undo()  # what it was changed to holds from then on
    status, said, err = run_command("train", "--resume", broken, "--steps", "7", capsys=capsys)
    assert status == 0 and "as before" in said and "order" not in err


def test_a_run_keeps_the_length_that_was_settled_when_it_went_on(tmp_path, command, capsys, monkeypatch):
    run = tmp_path / "run"
    train(command, saved(tmp_path, waves()), run, "--no-score")
    monkeypatch.setattr("fastsep.training.pace._MOST_STEPS", 6)
    status, _, err = run_command("train", "--resume", run, "--steps", "none", capsys=capsys)
    assert status == 0, err
    assert load_config(run).optim.steps == newest_checkpoint(run).step == 6


def test_evaluation_takes_the_scaling_of_the_run(tmp_path, command, capsys):
    run = tmp_path / "run"
    train(command, saved(tmp_path, waves()), run, "--no-score")
    hotter = waves()
    hotter[:4] *= 3  # the training part alone
    other = saved(tmp_path, hotter, "hotter.npy")
    results = []
    for data in ([], ["--data", other]):
        status, _, err = run_command("evaluate", run, "--no-figures", *data, capsys=capsys)
        assert status == 0, err
        results.append(metrics(run)["scores"]["model"])
    assert results[0] == results[1]


@pytest.mark.parametrize(("variables", "layout"), [(["heat"], []), (["heat", "other"], ["--layout", "tnhw"])])
def test_evaluation_takes_frames_without_names_for_the_variables(tmp_path, command, capsys, variables, layout):
    run, named = tmp_path / "run", tmp_path / "named.npz"
    fields = {"heat": waves(12, 12), "other": waves(12, 12, seed=1)}  # sizes do not tell sequences from frames
    np.savez(named, **fields)
    train(command, named, run, "--variable", *variables, *layout)
    scores = metrics(run)["scores"]
    nameless = saved(tmp_path, np.stack([fields[name] for name in variables], 2))
    status, _, err = run_command("evaluate", run, "--data", nameless, "--no-figures", capsys=capsys)
    assert status == 0 and "these are not the data" in err and metrics(run)["scores"] == scores
    np.savez(named, cold=waves())
    status, _, err = run_command("evaluate", run, capsys=capsys)
    assert status == 2 and err.count("\n") == 1 and "holds no array 'heat': it has cold" in err


def test_data_that_were_held_back_are_scored_whole(tmp_path, command, capsys):
    run, frames = tmp_path / "run", waves(1, 7, (12, 16))
    train(command, saved(tmp_path, waves(5, 12, (12, 16))), run, "--no-score")
    (tmp_path / "held").mkdir()
    held, place = saved(tmp_path / "held", frames), tmp_path / "place"
    options = "--data", held, "--device", "cpu", "--no-figures"
    status, out, errors = run_command("evaluate", run, *options, "--whole", "--out", place, capsys=capsys)
    assert status == 0 and "frames, step 4: 3 windows, " in out  # one sequence, which cannot be parted
    assert f"warning: {held}: these are not the data that the run was trained on\n" in errors
    future, last = np.stack([frames[0, t + 2 : t + 5] for t in range(3)]), frames[0, 1:4, None]
    scores = metrics(place)["scores"]
    error = np.sqrt(np.square(future - last).mean())
    assert scores["persistence"]["rmse"]["3"] == pytest.approx(error, rel=1e-5)
    assert scores.keys() == {"model", "persistence"}  # the mean of what is scored would be an oracle
    assert metrics(place)["whole"] and not (run / "metrics.json").exists()
    own = "--data", tmp_path / "own.npy", "--device", "cpu", "--no-figures", "--whole", "--out", place
    _, _, errors = run_command("evaluate", run, *own, capsys=capsys)
    assert "warning: the run was trained on a part of " in errors
    status, _, errors = run_command("evaluate", run, *options, "--whole", "--horizon", "6", capsys=capsys)
    assert status == 2 and "no window of 2 + 6 frames fits into the 7 frames of a sequence: lower --horizon" in errors
    train(command, saved(tmp_path, waves(5, 12, (12, 16))), tmp_path / "other", "--no-score")
    for out, words in ((tmp_path / "other", "holds another run"), (held, "is no directory: choose another --out")):
        status, _, errors = run_command("evaluate", run, *options, "--out", out, capsys=capsys)
        assert status == 2 and words in errors and not (tmp_path / "other" / "metrics.json").exists()
    status, out, errors = run_command("compare", place, capsys=capsys)
    assert (status, errors) == (0, "") and "model, 1 run " in out  # as the run's settings say
    status, _, errors = run_command("evaluate", run, "--whole", capsys=capsys)
    assert (status, errors) == (
        2, "error: --whole scores data that were held back from training: give them with --data\n"
    )  # fmt: skip


def test_evaluation_and_a_run_that_goes_on_say_that_units_are_others(tmp_path, command, capsys):
    run = tmp_path / "run"
    for name, unit in (("celsius", "degC"), ("kelvin", "K"), ("bare", None)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["t"] = waves()
            if unit:
                file["t"].attrs["units"] = unit
    train(command, tmp_path / "celsius.h5", run, "--no-score")
    said = {}
    for name in ("celsius", "kelvin", "bare"):
        how = "--data", tmp_path / f"{name}.h5", "--no-figures"
        status, _, said[name] = run_command("evaluate", run, *how, capsys=capsys)
        assert status == 0
    how = "--steps", "5", "--no-score", "--data", tmp_path / "kelvin.h5"
    status, _, said["on"] = run_command("train", "--resume", run, *how, capsys=capsys)
    assert status == 0
    for name in ("kelvin", "on"):
        assert said[name].count("kelvin.h5 is in K, the run was trained in degC") == 1
    assert not any("trained in" in said[name] for name in ("celsius", "bare"))


def test_a_run_that_lost_its_scaling_is_refused(tmp_path, command, capsys):
    run = tmp_path / "run"
    train(command, saved(tmp_path, waves()), run, "--no-score")
    (run / NAME).unlink()
    for arguments in (["evaluate", run], ["train", "--resume", run, "--steps", "9"]):
        status, _, err = run_command(*arguments, capsys=capsys)
        assert status == 2 and err.count("\n") == 1 and "lacks its scaling.json" in err


def test_each_channel_has_a_picture_of_its_forecast(tmp_path, command):
    two = np.stack([waves(5, 12), -waves(5, 12)], axis=2)
    train(command, saved(tmp_path, two), tmp_path / "run")
    shown = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert {"forecast.png", "forecast-channel-2.png"} <= shown and "forecast-channel-3.png" not in shown


def test_left_open_pace_is_settled_and_kept(tmp_path, command, capsys):
    run = tmp_path / "run"
    arguments = [*SMALL, "--batch-size", "none", "--no-score"]
    status, out, err = command("--data", saved(tmp_path, waves()), "--out", run, *arguments)
    assert status == 0, err
    assert "pace: batches of 8 (--batch-size)" in out
    assert load_config(run).optim.batch_size == 8
    assert newest_checkpoint(run).step == 4


BAD = [
    (waves(5, 1), [], "no train window of 2 + 3 frames"),
    (np.ones((5, 12, 6, 8)), [], "is constant in the training part"),
    (waves(5, 12), ["--nt-pred", "30"], "no train window of 2 + 30 frames fits into the 12 train frames"),
    (waves(5, 12), ["--split", "time"], "no test window of 2 + 3 frames fits into the 2 test frames"),
    (waves(5, 12), ["--batch-size", "999"], "a batch of 999 does not fit 32 training windows: lower --batch-size"),
    (waves(2, 5, (64, 64)), ["--encoder", "vgg"], "batch norm in vgg cannot learn from one training window: give"),
    (waves(2, 5, (64, 64)), [], "a batch of 4 does not fit 1 training windows: lower --batch-size"),
    (waves(1, 12), ["--split", "sequences", "--layout", "nthw"], "set --split time"),
    (waves(5, 12), ["--scale", "standard", "--last-activation", "sigmoid"], "set --last-activation none"),
    (waves(5, 12), ["--test-share", "1"], "set --test-share"),
    (waves(5, 12), ["--every", "0"], "set --every"),
    (waves(5, 12), ["--layout", "xyz"], "set --layout"),
    (waves(5, 12), ["--variable", "u"], "u"),
    (None, [], "does not exist"),
]


@pytest.mark.parametrize(("frames", "arguments", "words"), BAD, ids=[words[-40:] for *_, words in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, command, frames, arguments, words):
    path = tmp_path / "own.npy"
    if frames is not None:
        saved(tmp_path, frames.astype(np.float32))
    status, _, err = command("--data", path, "--out", tmp_path / "run", *SMALL, "--layout", "nthw", *arguments)
    assert status == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("value", "where"), [(np.nan, 1), (np.inf, 4)], ids=["nan-train", "inf-test"])
def test_one_missing_value_is_one_line_and_leaves_nothing(tmp_path, command, value, where):
    frames = waves()
    frames[where, 7, 2, 5] = value
    status, _, err = command("--data", saved(tmp_path, frames), "--out", tmp_path / "run", *SMALL)
    assert status == 2 and err.count("\n") == 1
    assert f"first sequence {where}, frame 7, channel 0, row 2, column 5: set --fill linear" in err
    assert not (tmp_path / "run").exists()
    train(command, tmp_path / "own.npy", tmp_path / "run", "--fill", "linear", "--no-score")


def test_an_empty_file_and_no_file(tmp_path, command):
    (tmp_path / "own.npy").touch()
    for arguments, words in ((["--data", tmp_path / "own.npy"], "is empty"), ([], "give it with --data PATH")):
        status, _, err = command(*arguments, "--out", tmp_path / "run", *SMALL)
        assert status == 2 and err.count("\n") == 1 and words in err
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "steps"), [((12,), 300), ((16, 20), 300)], ids=["points", "images"])
def test_the_defaults_learn(tmp_path, capsys, shape, steps):
    """Waves that travel at a speed of their own in each sequence: half the error of either baseline."""
    random = np.random.default_rng(0)
    place = np.add.reduce(np.meshgrid(*(np.linspace(0, 6, size) for size in shape), indexing="ij"))
    time = np.arange(40).reshape(-1, *[1] * len(shape))
    waves = [
        20 + 3 * np.sin(place - speed * time + phase)
        for speed, phase in zip(random.uniform(0.1, 0.5, 20), random.uniform(0, 6, 20), strict=True)
    ]
    path = saved(tmp_path, np.stack(waves).astype(np.float32))
    run = tmp_path / "run"
    arguments = ["--data", path, "--out", run, "--steps", steps, "--device", "cpu"]
    status, _, err = run_command("train", "frames", *arguments, capsys=capsys)
    assert status == 0, err
    scores = {predictor: values["rmse"]["10"] for predictor, values in metrics(run)["scores"].items()}
    assert scores["model"] < 0.5 * min(scores["persistence"], scores["mean frame"])


def test_a_run_may_lie_in_the_folder_of_its_data(tmp_path, command, capsys):
    for number, sequence in enumerate(waves()):
        saved(tmp_path, sequence, f"sequence{number}.npy")
    train(command, tmp_path, tmp_path / "run", "--no-score")
    status, _, err = run_command("evaluate", tmp_path / "run", "--no-figures", capsys=capsys)
    assert status == 0 and "warning" not in err
    assert metrics(tmp_path / "run")["trained_on_these_data"] is True
    saved(tmp_path, waves(1, seed=9)[0], "sequence5.npy")
    status, _, err = run_command("evaluate", tmp_path / "run", "--no-figures", capsys=capsys)
    assert status == 0 and "these are not the data that the run was trained on" in err
