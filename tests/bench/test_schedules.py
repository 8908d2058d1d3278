"""The search for schedules: where it walks, what it remembers, what it trains, and what the tables say."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import schedules
from bench.environment import RESULTS
from bench.reporting.results_files import Device, read_device, read_results
from bench.reporting.schedule_tables import best_schedules, named, schedules_section
from bench.rows import read_lines
from bench.schedules import AXES, START, Search, differences, parse_choice, walk
from fastsep.errors import UserError
from fastsep.presets import PRESETS

CPU = torch.device("cpu")


def search(folder: Path, preset: str = "wave100_onecycle", steps: int = 3, **options: object) -> Search:
    return Search(preset, steps, 0, folder / "found.jsonl", folder / "runs", CPU, dry=True, show=False, **options)


@pytest.mark.parametrize("preset", ["wave", "wave100", "wave100_onecycle"])
def test_every_value_of_every_axis_is_a_setting(preset: str) -> None:
    config = PRESETS[preset]()
    for values in AXES.values():
        for value in values:
            changed = config.having(**(START | value))
            parts = (changed.objective, changed.optim)
            assert all(any(getattr(part, name, ()) == wanted for part in parts) for name, wanted in value.items())
    with pytest.raises(UserError, match="no setting speed"):
        config.having(speed=2)


def test_the_walk_keeps_what_helps_and_goes_on_from_there() -> None:
    asked = []

    def error(choice: dict) -> float:
        asked.append(choice)
        return abs(choice.get("lr", 1) - 3) + abs(choice.get("ema", 0) - 0.5) + (choice.get("clip_norm") == 7)

    axes = {"peak": ({"lr": 1}, {"lr": 2}, {"lr": 3}), "clip": ({"clip_norm": 7},), "average": ({"ema": 0.5},)}
    found = list(walk({"lr": 1}, axes, error))
    assert found == [{"lr": 1}, {"lr": 3}, {"lr": 3}, {"lr": 3, "ema": 0.5}]
    assert asked == [{"lr": 1}, {"lr": 2}, {"lr": 3}, {"lr": 3, "clip_norm": 7}, {"lr": 3, "ema": 0.5}]


def test_equal_trainings_have_equal_names() -> None:
    config = PRESETS["wave100_onecycle"]()
    assert differences(config, {"nt_pred": 20, "lr": 2e-3, "clip_norm": 0.1}) == {"lr": 2e-3}
    assert list(differences(config, {"nt_pred": 40, "ema": 0.9})) == ["ema", "nt_pred"]


def test_what_was_trained_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = search(tmp_path).error({"ema": 0.5, "lr": 2e-3})
    (row,) = read_lines(tmp_path / "found.jsonl")
    assert row["choice"] == {"ema": 0.5, "lr": 2e-3} and row["steps"] == 3 and len(row["curve"]) == 40
    assert first == min(row["mse"], row["mse_last"]) and row["mse"] != row["mse_last"]
    assert row["seconds"] > 0 and not any((tmp_path / "runs").iterdir())
    monkeypatch.setattr(Search, "train", lambda self, choice: pytest.fail("trained again"))
    assert search(tmp_path).error({"lr": 2e-3, "ema": 0.5, "nt_pred": 20}) == first
    with pytest.raises(TimeoutError):
        search(tmp_path, deadline=0.0).error({"lr": 4e-3})


def test_an_interrupted_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search(tmp_path / "whole").error({"ema": 0.5})
    with monkeypatch.context() as patch:
        patch.setattr("fastsep.evaluation.evaluate_run", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path).error({"ema": 0.5})
    assert not (tmp_path / "found.jsonl").exists()
    monkeypatch.setattr("fastsep.training.trainer.Trainer.fit", lambda self: pytest.fail("trained again"))
    assert search(tmp_path).error({"ema": 0.5}) == pytest.approx(whole, rel=1e-6)


def test_a_training_that_breaks_down_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise UserError("the loss is nan at step 3; no checkpoint was written yet")

    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("fastsep.training.trainer.Trainer.fit", broken)
    assert search(tmp_path).error({"lr": 1.0}) == float("inf")
    (row,) = read_lines(tmp_path / "found.jsonl")
    assert row["mse"] is None and row["broke"] == "the loss is nan at step 3"


def test_choices_of_a_command_line() -> None:
    assert parse_choice(["lr=2e-3", "clip-norm=none", "nt_pred=40"]) == {"lr": 2e-3, "clip_norm": None, "nt_pred": 40}
    with pytest.raises(UserError, match="'lr' is no setting: give NAME=NUMBER"):
        parse_choice(["lr"])
    with pytest.raises(UserError, match="'lr=fast' is no setting"):
        parse_choice(["lr=fast"])


def test_a_dry_run_is_never_taken_for_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["schedules", "wave100_onecycle", "--steps", "2", "--dry-run"])
    with pytest.raises(UserError, match="a dry run is no result: give --out"):
        schedules.main()


def row(choice: dict, mse: float | None, seed: int = 0, **more: object) -> dict:
    curve = [mse * k / 20 for k in range(1, 41)] if mse else None
    kept = {"preset": "wave100_onecycle", "steps": 1500, "seed": seed, "choice": choice, "seconds": 250.0, "threads": 2}
    return {**kept, "mse": mse, **({"curve": curve} if curve else {}), **more}


def test_tables_say_what_won_what_lost_and_what_broke(tmp_path: Path) -> None:
    rows = [
        row({}, 5e-5), row({}, 7e-5, seed=1), row({"lr": 3e-3}, None, broke="the loss is nan at step 700"),
        row({"clip_norm": None, "ema": 0.99}, 3e-5, mse_last=2e-5, curve_last=[1e-5] * 40),
    ]  # fmt: skip
    folder = tmp_path / "some-cpu"
    (folder / "schedules").mkdir(parents=True)
    (folder / "schedules" / "wave100_onecycle.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    device = read_device(folder)
    metrics = {"curves": {"model": {"mse": [2e-4] * 40}}}
    device.runs = [{"run": "wave100-published", "scores": [{"step": 18750, "metrics": metrics}]}]
    page = schedules_section(device).splitlines()
    start = page.index("wave100_onecycle, 1,500 steps:")
    assert page[start + 4 : start + 7] == [
        "| `--clip-norm none --ema 0.99` | 1 | 250 s (2) | 3.00e-05 | 2.00e-05 |",
        "| as the preset | 2 | 250 s (2) | 6.00e-05 ± 1.4e-05 |  |",
        "| `--lr 0.003` | 1 | 250 s (2) | the loss is nan at step 700 |  |",
    ]
    assert page[-2].endswith("seed 0, last weights | 1.00e-05 | 1.00e-05 | 1.00e-05 | 1.00e-05 | 1.00e-05 | 1.00e-05 |")
    assert page[-1].startswith("| wave100-published, 18,750 steps, 1 seed, on some-cpu | 2.00e-04 |")
    other = Device("other", schedules=[row({}, 1e-5)])
    assert schedules_section(other, [other, device]).splitlines()[-1] == page[-1]
    assert named({}) == "as the preset"
    alone = schedules_section(Device("alone", schedules=[row({}, 1e-5)])).splitlines()
    assert alone[-1].startswith("| wave100_onecycle, 1,500 steps, as the preset, seed 0, weights | 5.00e-07 |")


def test_the_best_preset_stands_beside_the_published_one() -> None:
    def of(name: str, step: int, mse: float) -> dict:
        return {"run": name, "scores": [{"step": step, "metrics": {"curves": {"model": {"mse": [mse] * 40}}}}]}

    device = Device("here", {"device": "CPU"}, runs=[of("wave-best", 8000, 3e-6), of("wave-onecycle", 6000, 4e-5)])
    gpu = Device("there", {"device": "GPU"}, runs=[of("wave-published", 18750, 7e-5)])
    lines = schedules_section(device, [gpu]).splitlines()
    assert lines[-2].startswith("| wave-best, 8,000 steps, 1 seed, on CPU | 3.00e-06 |")
    assert lines[-1].startswith("| wave-published, 18,750 steps, 1 seed, on GPU | 7.00e-05 |")


def test_the_best_preset_is_what_the_search_found() -> None:
    found = PRESETS["wave100_onecycle"]().having(lamb_t=1e-4, steps=20_000)
    preset = PRESETS["wave100_best"]()
    assert replace(found, run=preset.run) == preset
    rows = [row for device in read_results(RESULTS) for row in device.schedules]
    mine = [row for row in rows if row["steps"] == 20_000 and row["choice"] == {"ema": 0.99, "lamb_t": 1e-4}]
    # Averages over steps change nothing in training: these are scores of the preset's own weights.
    assert mine and all(row["preset"] == "wave100_onecycle" and row["mse_last"] < 1e-5 for row in mine)


def test_the_readme_shows_the_best_of_each_length_and_none_that_broke_down() -> None:
    line = {"preset": "wave", "seed": 0, "threads": 2}
    rows = [
        {**line, "steps": 10, "choice": {"lr": 1e-2}, "mse": None, "broke": "the loss is not finite"},
        {**line, "steps": 20, "choice": {"lr": 1e-2}, "mse": None, "broke": "the loss is not finite"},
        {**line, "steps": 20, "choice": {"ema": 0.9, "lr": 1e-3}, "mse": 3e-4, "mse_last": 2e-4, "seconds": 7.0},
        {**line, "steps": 30, "choice": {"ema": 0.9, "lr": 1e-3}, "mse": 1e-4, "mse_last": 2e-4, "seconds": 9.0},
        {**line, "steps": 40, "choice": {"batch_size": 32}, "mse": 1.1e-4, "seconds": 9.0},
    ]
    table = best_schedules([Device("here", {"device": "CPU"}, schedules=rows), Device("there")])
    assert table[2:] == [
        "| CPU | wave | `--lr 0.001` | 1 | 20 | 7 s (2) | 2.00e-04 |",
        "| CPU | wave | `--ema 0.9 --lr 0.001` | 1 | 30 | 9 s (2) | 1.00e-04 |",
    ]
    assert best_schedules([Device("there")]) == []
