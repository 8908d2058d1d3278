"""Command lines that cannot be read: one line with the word, what it should be, and where the options are listed."""

from __future__ import annotations

import pytest
from command_line import run_command
from test_cli import COMMANDS

from fastsep.misread import _message

PRESETS = "wave, wave-onecycle, wave-best, wave100, wave100-onecycle, wave100-best, mnist, chairs, taxibj, sst, frames"
CASES = {
    "train wave --lr fast": "--lr takes a number, not 'fast': see python -m fastsep.train wave --help",
    "train wave --epochs 1.5": (
        "--epochs takes a whole number or none, not '1.5': see python -m fastsep.train wave --help"
    ),
    "train wave --shape 1 x": "--shape takes whole numbers, not 'x': see python -m fastsep.train wave --help",
    "train wave --lr": "--lr needs a value: see python -m fastsep.train wave --help",
    "train wave --compile maybe": (
        "--compile takes auto, on or off, not 'maybe': see python -m fastsep.train wave --help"
    ),
    "train wave --precison fp32": (
        "there is no option --precison: try --precision, or see python -m fastsep.train wave --help"
    ),
    "train xyz": f"nothing takes the word xyz here: take one of {PRESETS}, or see python -m fastsep.train --help",
    "train frame --data x": "nothing takes the word frame here: try frames, or see python -m fastsep.train --help",
    "train wave100-onecyle --lr x": (
        "nothing takes the word wave100-onecyle here: try wave100-onecycle, or see python -m fastsep.train --help"
    ),
    "train --lr 3": (
        f"there is no option --lr here: take one of {PRESETS} first, or see python -m fastsep.train --help"
    ),
    "train": f"nothing is chosen: take one of {PRESETS}, or see python -m fastsep.train --help",
    "gen_wave": "--out PATH must be given: see python -m fastsep.gen_wave --help",
    "gen_wave --outt x --zzz": (
        "--out PATH must be given; there is no option --outt and --zzz: see python -m fastsep.gen_wave --help"
    ),
    "gen_wave --out a --sise=9": "there is no option --sise: see python -m fastsep.gen_wave --help",
    "gen_wave --out a b": "nothing takes the word b: see python -m fastsep.gen_wave --help",
    "gen_wave --out a --size=x": "--size takes a whole number, not 'x': see python -m fastsep.gen_wave --help",
    "forecast a": "INPUT, --horizon INT and --out PATH must be given: see python -m fastsep.forecast --help",
}


@pytest.mark.parametrize(("words", "message"), CASES.items())
def test_what_cannot_be_read_is_one_line(words: str, message: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")  # a narrow terminal wraps nothing
    command, *arguments = words.split()
    status, out, error = run_command(command, *arguments, capsys=capsys)
    assert (status, out, error) == (2, "", f"error: {message}\n")


FIRST = {"evaluate": 1, "forecast": 2, "export": 1, "prepare_chairs": 1, "import_official": 1}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_knows_its_options(command: str, capsys) -> None:
    first = ["plume"] if command == "gen_example" else ["x"] * FIRST.get(command, 0)
    status, _, error = run_command(command, *first, "--no-such-thing", capsys=capsys)
    assert status == 2 and error.count("\n") == 1
    assert "there is no option --no-such-thing" in error and f"see python -m fastsep.{command} --help" in error


def test_help_is_not_narrowed_to_a_line(capsys) -> None:
    status, out, _ = run_command("train", "wave", "--lr", "fast", "--help", capsys=capsys)
    assert status == 0 and out.count("\n") > 30


def test_words_that_are_not_known_are_kept() -> None:
    text = "╭─ New kind of error ─╮\n│ Something else is wrong │\n│ ─────── │\n│ Say x │\n╰─────╯"
    assert _message(text, "python -m fastsep.x", "python -m fastsep.x") == (
        "New kind of error Something else is wrong: see python -m fastsep.x --help"
    )
