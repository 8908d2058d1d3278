"""The training command as a user meets it."""

import json
import shutil
import signal

import pytest
from command_line import run_command

from fastsep.runs.directory import load_config
from fastsep.runs.log_file import read_log
from fastsep.train import _parse_preset

# fmt: off
SMALL = [
    "--size", "10", "--frames", "130", "--steps", "12", "--batch-size", "8", "--log-every", "4",
    "--enc-hidden-size", "16", "--dec-hidden-size", "16", "--res-hidden-size", "16", "--checkpoint-every", "8",
]
# fmt: on


@pytest.fixture
def command(capsys):
    return lambda *arguments: run_command("train", *arguments, capsys=capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wavy"], "wavy"),
        ([], "wave100-onecycle"),
        (["wave100", "--learning-rate", "1"], "--learning-rate"),
        (["wave100", "--lr", "fast"], "--lr"),
        (["wave100", "--clip-norm", "0"], "set --clip-norm to a number above 0, up to 1e+30, or none"),
        (["wave100", "--clip-norm", "nothing"], "--clip-norm"),
        (["wave100", "--batch-size", "0"], "set --batch-size to a whole number from 1"),
        (["wave100", "--mixing", "concat", "--no-s"], "--mixing mul"),
        (["wave", "--size", "10", "--frames", "60", "--shape", "1", "32", "32"], "set --shape 1 64 64, or --enc"),
        (["mnist", "--digits", "sklearn", "--grid", "96"], "are 1x96x96, the model takes 1x64x64: set --encoder"),
        (["mnist", "--digits", "sklearn", "--shape", "1", "96", "96"], "(the nearest are 64x64 and 128x128)"),
        (["mnist", "--digits", "sklearn", "--grid", "50", "--encoder", "auto"], "the nearest are 48x48 and 52x52"),
        (["wave100", "--size", "10", "--frames", "60", "--encoder", "auto", "--shape", "1", "9"], "leave out --shape"),
        (["wave100", "--device", "cuda:99"], "cuda:99"),
        (["wave100", "--device", "tpu"], "set --device to auto, cpu, cuda or cuda:N"),
        (["wave100", "--capture", "on", "--device", "cpu"], "CUDA graphs need a GPU"),
        (["wave100", "--data", "nowhere"], "nowhere"),
        (["wave100", "--nt-cond", "0", "--offset", "0"], "set --nt-cond"),
        (["wave100", "--nt-pred", "0"], "set --nt-pred"),
        (["wave100", "--n-blocks", "0"], "set --n-blocks"),
        (["wave100", "--enc-hidden-size", "0"], "set --enc-hidden-size"),
        (["wave100", "--log-every", "0"], "set --log-every"),
        (["wave100", "--checkpoint-every", "0"], "set --checkpoint-every"),
        (["wave100", "--steps", "3", "--epochs=2"], "--steps and --epochs both"),
        (["wave100", "--epochs", "99999999", "--size", "10"], "set --epochs to fewer"),
        (["wave100", "--resume", "X"], "keeps its preset: leave out wave100, as in python -m fastsep.train --resume X"),
        (["--resume", "X", "wave-onecycle"], "leave out wave-onecycle"),
        (["--resume", "nowhere"], "nowhere holds no run"),
        (["--resume=nowhere", "--steps", "3"], "nowhere holds no run"),
        (["--resume"], "--resume RUN"),
        (["--resume", "--steps", "3"], "--resume RUN"),
        (["--resume", "a", "--resume", "b"], "--resume takes one run"),
    ],
)
def test_bad_input_ends_with_status_2_and_a_reason(arguments, words, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, errors = command(*arguments)
    assert status == 2
    assert words in " ".join(errors.replace("│", " ").split())
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("preset", "arguments", "expected"),
    [
        ("wave100", ["--clip-norm", "none"], {"clip_norm": None}),
        ("wave100-onecycle", ["--clip-norm", "None"], {"clip_norm": None}),
        ("wave100-onecycle", [], {"clip_norm": 0.1, "steps": 1500}),
        ("wave100-onecycle", ["--epochs", "3"], {"epochs": 3, "steps": None}),
        ("wave-best", [], {"clip_norm": 0.1, "steps": 20_000}),
        ("wave100", ["--steps=3"], {"epochs": 250, "steps": 3}),
        ("wave100", ["--steps", "none"], {"epochs": 250, "steps": None}),
    ],
)
def test_options_mean_what_they_say(preset, arguments, expected):
    config = _parse_preset([preset, *arguments])
    assert {name: getattr(config.optim, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "encoder", "says"),
    [
        (["--shape", "1", "32", "32"], "mlp", ""),
        (
            ["--encoder", "auto"],
            "mlp",
            "frames of 1x32x32: mlp encoder and decoder, since they hold at most 1,024 values",
        ),
        (
            ["--shape", "1", "32", "32", "--encoder", "dcgan", "--decoder", "auto"],
            "dcgan",
            "since the encoder is dcgan",
        ),
        (["--encoder", "vgg", "--decoder", "vgg", "--shape", "1", "32", "32", "--skip"], "vgg", ""),
    ],
)
def test_waves_of_another_grid_train(options, encoder, says, tmp_path, command, capsys):
    data, run, narrow = small_waves(tmp_path, 32, capsys), tmp_path / "run", ["--enc-hidden-size", "4"]
    narrow += ["--dec-hidden-size", "4", "--steps", "1", "--batch-size", "2", "--nt-pred", "3", "--no-score"]
    status, output, errors = command("wave", "--data", data, *narrow, *options, "--out", run)
    assert status == 0, errors
    assert says in output
    model = load_config(run).model
    assert (model.shape, model.encoder, model.decoder) == ((1, 32, 32), encoder, encoder)
    assert not model.left_open


def test_data_of_another_grid_are_refused_in_one_line(tmp_path, command, capsys):
    data, other = (small_waves(tmp_path, grid, capsys) for grid in (32, 40))
    run, short = tmp_path / "run", ["--steps", "1", "--batch-size", "2", "--nt-pred", "3", "--no-score"]
    settings = ["--data", data, *short, "--enc-hidden-size", "4", "--out", run]
    status, _, errors = command("wave", *settings)
    assert status == 2
    assert errors == (
        "error: the data's frames are 1x32x32, the model takes 1x64x64: set --shape 1 32 32, or --encoder auto\n"
    )
    assert not run.exists()
    assert command("wave", *settings, "--shape", "1", "32", "32")[0] == 0
    status, _, errors = command("--resume", run, "--steps", "2", "--data", other)
    assert status == 2
    assert errors == (
        "error: the data's frames are 1x40x40, the run's model takes 1x32x32: give the data it was trained on\n"
    )
    assert command("--resume", run, "--steps", "2")[0] == 0


def small_waves(folder, grid, capsys):
    """Where five short sequences of waves lie."""
    data = folder / f"waves{grid}"
    made = run_command("gen_wave", "--grid", grid, "--size", 5, "--frames", 60, "--out", data, capsys=capsys)
    assert made[0] == 0, made[2]
    return data


@pytest.mark.parametrize("seed", [20261125220522, 2**63 - 1])
def test_large_seeds_train(seed, tmp_path, command):
    status, _, errors = command("wave100", *SMALL, "--no-score", "--seed", seed, "--out", tmp_path / "run")
    assert status == 0, errors


def test_a_run_goes_on_with_other_options_of_how_and_where(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [*SMALL, "--no-score", "--precision", "fp32"]
    assert command("wave100", *small, "--device", "cpu", "--out", "run")[0] == 0
    settings = tmp_path / "run" / "config.json"
    # as if it had been trained on a GPU
    text = settings.read_text().replace('"device": "cpu"', '"device": "cuda"').replace("fp32", "fp16")
    settings.write_text(text.replace('"capture": "auto"', '"capture": "on"'))
    status, _, errors = command("--resume", "run", "--lr", "1", "--seed", "5")
    assert status == 2 and "keeps its --lr and --seed" in errors
    status, _, errors = command("--resume", "run", "--nt-pred", "7", "--n-blocks", "2", "--windows", "published")
    assert status == 2 and "keeps its --windows and --n-blocks and --nt-pred" in errors
    options = []
    for words, remedy in (
        ("use --device cpu", ["--device", "cpu"]),
        ("use --precision auto, bf16 or fp32", ["--precision", "fp32"]),
        ("use --capture auto", ["--capture", "auto"]),
        ("extend it with --steps N, more than 12", ["--steps", "16"]),
    ):
        status, _, errors = command("--resume", "run", *options)
        assert status == 2 and words in errors, errors
        options += remedy
    monkeypatch.chdir("/")
    status, _, errors = command(*options, "--log-every", "2", "--no-score", "--resume", tmp_path / "run")
    assert status == 0, errors
    config = load_config(tmp_path / "run")
    assert (config.run.device, config.run.log_every, config.optim.steps) == ("cpu", 2, 16)
    assert [row["step"] for row in read_log(tmp_path / "run")] == [4, 8, 12, 14, 16]


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler to hide")
def test_compiling_without_a_compiler_is_refused_before_anything_is_written(tmp_path, command, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "")
    status, _, errors = command("wave100", *SMALL, "--compile", "on", "--device", "cpu", "--out", tmp_path / "run")
    assert status == 2 and "use --compile off" in errors
    assert not (tmp_path / "run").exists()


def test_stopped_while_it_scores_it_says_how_to_score(tmp_path, command, monkeypatch):
    monkeypatch.setattr("fastsep.evaluation.evaluate_run", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    status, _, errors = command("wave100", *SMALL, "--out", tmp_path / "run")
    assert status == 143
    assert errors.splitlines()[-1].endswith(f"score it with python -m fastsep.evaluate {tmp_path / 'run'}")


def test_a_run_trains_scores_draws_and_says_where(tmp_path, command):
    run = tmp_path / "run"
    status, output, errors = command("wave100", *SMALL, "--out", run, "--seed", 3)
    assert status == 0, errors
    assert "persistence" in output
    assert str(run) in output
    assert json.loads((run / "config.json").read_text())["run"]["seed"] == 3
    assert (run / "metrics.json").exists()
    pictures = list((run / "figures").glob("*.png"))
    assert pictures
    assert all(picture.name in output for picture in pictures)
    status, _, errors = command("wave100", *SMALL, "--out", run)
    assert status == 2
    assert "--resume" in errors
    status, _, errors = command("--resume", run)
    assert status == 2
    assert "is complete" in errors


def test_the_same_command_may_be_given_again(tmp_path, command, monkeypatch):
    """By a batch system: it trains, then scores what was not scored, then ends well at once."""
    arguments = "wave100", *SMALL, "--out", tmp_path / "run", "--auto-resume", "--device", "cpu"
    with monkeypatch.context() as patch:
        patch.setattr("fastsep.evaluation.evaluate_run", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
        assert command(*arguments)[0] == 143
    status, out, err = command(*arguments)
    assert status == 0 and "is complete (12 steps; extend it" in out and "persistence" in out, err
    scores = (tmp_path / "run/metrics.json").read_bytes()
    assert [start["step"] for start in json.loads(scores)["starts"]] == [0]
    status, out, _ = command(*arguments)
    assert status == 0 and "is complete (12 steps; extend it" in out and "persistence" not in out
    assert (tmp_path / "run/metrics.json").read_bytes() == scores
    status, _, err = command(*arguments, "--seed", "5")
    assert status == 2 and "a run that goes on keeps its --seed" in err
