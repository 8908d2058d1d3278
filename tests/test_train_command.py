"""The training command as a user meets it."""

import json
import subprocess
import sys

import pytest

# fmt: off
SMALL = [
    "--size", "10", "--frames", "130", "--steps", "12", "--batch-size", "8", "--log-every", "4",
    "--enc-hidden-size", "16", "--dec-hidden-size", "16", "--res-hidden-size", "16", "--checkpoint-every", "8",
]
# fmt: on


def command(*arguments):
    done = subprocess.run([sys.executable, "-m", "fastsep.train", *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wavy"], "wavy"),
        (["wave100", "--learning-rate", "1"], "--learning-rate"),
        (["wave100", "--lr", "fast"], "--lr"),
        (["wave100", "--clip-norm", "0"], "--clip-norm to a number above 0"),
        (["wave100", "--batch-size", "0"], "set --batch-size to a whole number from 1"),
        (["wave100", "--mixing", "concat", "--no-s"], "--mixing mul"),
        (["wave100", "--device", "cuda:99"], "cuda:99"),
        (["wave100", "--capture", "on", "--device", "cpu"], "CUDA graphs need a GPU"),
        (["wave100", "--data", "nowhere"], "nowhere"),
        (["--resume", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_ends_with_status_2_and_a_reason(arguments, words, tmp_path):
    out = [] if arguments[0] == "--resume" else ["--out", tmp_path / "run"]
    status, _, errors = command(*arguments, *(out if arguments[0] == "wave100" else []))
    assert status == 2
    assert words in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()


def test_a_run_trains_scores_draws_and_says_where(tmp_path):
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
