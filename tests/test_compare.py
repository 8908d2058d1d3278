"""Scores of several runs side by side: who belongs together, what is refused, what is written."""

from __future__ import annotations

import csv
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run_command
from network_cases import SMALL
from rank_cases import make_waves, wave100

from fastsep.config import Config
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.settings import Wave100
from fastsep.drawing.comparison import comparison_figure
from fastsep.errors import UserError
from fastsep.evaluation import evaluate_run
from fastsep.evaluation.comparison import compare_runs, format_comparison, spread
from fastsep.model import SeparableModel
from fastsep.runs.checkpoint import save_checkpoint
from fastsep.runs.directory import create_run
from fastsep.training.loop import train

CONFIG = Config(data=Wave100(), model=SMALL)


def scored(run: Path, mse: float | None = 0.5, config: Config = CONFIG, seed: int = 0, **changed: Any) -> Path:
    """A run with scores at t+2 and t+3, and what of its ``metrics.json`` is other."""
    create_run(run, replace(config, run=replace(config.run, seed=seed)))
    curve = [mse, mse, mse]
    result = {
        "dataset": config.data.name, "step": 7, "windows": 12, "labels": {"mse": "MSE"},
        "scores": {"model": {"mse": {"2": mse, "3": mse}}, "persistence": {"mse": {"2": 0.25, "3": 0.75}}},
        "curves": {"model": {"mse": curve}, "persistence": {"mse": [0.25, 0.25, 1.75]}},
    }  # fmt: skip
    (run / "metrics.json").write_text(json.dumps(result | changed))
    return run


def having(**objective: float) -> Config:
    return replace(CONFIG, objective=replace(CONFIG.objective, **objective))


def table_of(text: str) -> list[list[str]]:
    """The cells of the last table."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.split("\n\n")[-1].splitlines()]


def test_runs_that_differ_in_their_seed_alone_are_one_row(tmp_path, capsys):
    seeds = [scored(tmp_path / f"a{seed}", mse, seed=seed) for seed, mse in enumerate((0.5, 0.25, 0.75))]
    other = scored(tmp_path / "b", 0.001, having(lamb_t=0.5, lamb_s=2.0), seed=0)
    comparison = compare_runs([seeds[0], other, *seeds[1:], seeds[0] / ".." / "a1"])
    assert [len(group.members) for group in comparison.groups] == [3, 1]
    text = format_comparison(comparison)
    assert text.startswith("wave100, 12 test windows: mean ± standard deviation over runs\n")
    first, second, baseline = table_of(text)[1:]
    assert first == ["MSE", "--lamb-s 45.0 --lamb-t 0.001, 3 runs", "0.5 ± 0.25", "0.5 ± 0.25"]
    assert second == ["--lamb-s 2.0 --lamb-t 0.5, 1 run", "1.00e-03", "1.00e-03"]
    assert baseline == ["persistence", "0.25", "0.75"]
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.001234, 0.001236], "1.23e-03 ± 1.4e-06"),
        ([3.0], "3"),
        ([21.456, 21.789, 21.123], "21.46 ± 0.33"),
        ([1.0, None, 2.0], "1 of 3 not finite"),
    ],
)
def test_mean_and_deviation_have_the_digits_that_tell_something(values, text):
    assert spread(values) == text


def test_the_step_that_was_scored_and_switches_tell_groups_apart(tmp_path):
    longer = scored(tmp_path / "a", step=1200), scored(tmp_path / "b", step=7)
    assert [group.name for group in compare_runs(longer).groups] == ["step 1,200, 1 run", "step 7, 1 run"]
    without = replace(CONFIG, model=replace(SMALL, no_s=True))
    comparison = compare_runs([scored(tmp_path / "c", config=without), scored(tmp_path / "d", config=having(lamb_t=2))])
    labels = [group.name for group in comparison.groups]
    assert labels == ["--no-s --lamb-t 0.001, 1 run", "without --no-s --lamb-t 2.0, 1 run"]
    assert [group.name for group in compare_runs([tmp_path / "a"]).groups] == ["model, 1 run"]


def test_how_a_score_came_about_tells_groups_apart(tmp_path):
    cycle = replace(CONFIG, optim=replace(CONFIG.optim, schedule="one_cycle", steps=7))
    cut = replace(cycle, optim=replace(cycle.optim, steps=1000))
    half = {"starts": [{"precision": "bf16"}]}
    for name, config, changed, label in (
        ("best", CONFIG, {"best": True}, "--best"), ("whole", CONFIG, {"whole": True}, "--whole"),
        ("half", CONFIG, half, "--precision bf16"), ("cut", cut, {}, "--steps 1000"),
    ):  # fmt: skip
        runs = [scored(tmp_path / f"{name}0", config=cycle if name == "cut" else CONFIG, seed=1)]
        runs.append(scored(tmp_path / name, config=config, **changed))
        if "starts" in changed:
            (tmp_path / name / "starts.jsonl").write_text(json.dumps(changed["starts"][0]) + "\n")
        assert [group.label for group in compare_runs(runs).groups][1] == label


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": ["mse"]}, {"dataset": None}, {"windows": None}, {"step": "10"}, {"swap": None}, {"scores": 3},
        {"curves": {"model": {}}}, {"scores": {"model": {"mse": {"2": "0.5"}}}},
        {"scores": {"model": {"mse": {"2": 0.5}}, "persistence": 0.5}}, {"starts": "fp32"},
    ],
)  # fmt: skip
def test_scores_that_are_none_are_one_line(changed, tmp_path):
    with pytest.raises(UserError, match=r"holds no scores that can be read: python -m fastsep\.evaluate"):
        compare_runs([scored(tmp_path / "run", **changed)])


def test_scores_of_another_training_are_said(tmp_path, capsys):
    compare_runs([scored(tmp_path / "run", starts=[{"step": 0}])])
    assert "metrics.json is not of the last training there: python -m fastsep.evaluate" in capsys.readouterr().err


def test_many_long_rows_have_a_legend_that_fits(tmp_path):
    groups = {
        f"--lamb-t {i} --lamb-s {i} --enc-hidden-size 64 --dec-hidden-size 32, 3 runs": {"mse": [[0.1] * 9]}
        for i in range(17)
    }
    figure = comparison_figure("waves", {"mse": "MSE"}, groups, {"persistence": {"mse": [0.2] * 9}})
    figure.draw_without_rendering()
    box, page = figure.legends[0].get_window_extent(), figure.bbox
    assert box.x0 >= 0 and box.x1 <= page.x1 and box.y0 >= 0
    styles = {
        (line.get_color(), str(line.get_linestyle()), line._unscaled_dash_pattern) for line in figure.axes[0].lines[:17]
    }
    assert len(styles) == 17


def test_how_and_where_a_run_was_trained_makes_no_difference(tmp_path):
    moved = replace(CONFIG, data=Wave100(data=tmp_path), run=replace(CONFIG.run, device="cuda:1", log_every=3))
    comparison = compare_runs([scored(tmp_path / "a"), scored(tmp_path / "b", config=moved, seed=1)])
    assert [len(group.members) for group in comparison.groups] == [2]


def test_what_cannot_be_compared_is_one_line(tmp_path, capsys):
    good = scored(tmp_path / "good")
    create_run(tmp_path / "new", CONFIG)
    scored(tmp_path / "spoiled")
    (tmp_path / "spoiled" / "metrics.json").write_text('{"scores": []}')
    scored(tmp_path / "digits", config=Config(data=MovingMNIST()))
    scored(tmp_path / "others", labels={"mse": "MSE [K]"})
    short = {"model": {"mse": {"9": 0.5}}}
    scored(tmp_path / "short", scores=short)
    for name, message in (
        ("new", r"new is not scored: python -m fastsep.evaluate \S*new"),
        ("spoiled", r"metrics.json holds no scores that can be read: python -m fastsep.evaluate \S*spoiled"),
        ("absent", r"absent holds no run \(no config.json\)"),
        ("digits", r"good forecasts wave100 and \S*digits mnist: compare runs on the same data"),
        ("others", r"good and \S*others have other scores or units"),
        ("short", r"good and the others have no horizon in common: evaluate all with the same --horizon"),
    ):
        with pytest.raises(UserError, match=message):
            compare_runs([good, tmp_path / name])
    status, _, errors = run_command("compare", capsys=capsys)
    assert (status, errors) == (2, "error: no run is given: name the directories that training wrote\n")


def test_what_is_compared_with_care_is_said(tmp_path, capsys):
    run = scored(tmp_path / "a")
    compare_runs([run, scored(tmp_path / "b", seed=1, windows=11)])
    assert "b was scored on other test windows (11) than" in capsys.readouterr().err
    baselines = {"model": {"mse": {"2": 0.5, "3": 0.5}}, "persistence": {"mse": {"2": 0.25, "3": 0.7501}}}
    compare_runs([run, scored(tmp_path / "c", seed=1, scores=baselines)])
    assert "c was scored on other test windows (12) than" in capsys.readouterr().err
    compare_runs([run, scored(tmp_path / "d")])
    assert "a and " in (said := capsys.readouterr().err) and "d have the same settings and seeds" in said
    save_checkpoint(run, 20, SeparableModel(SMALL), {"step": 20})
    compare_runs([run])
    assert "a was scored at step 7 and has come to 20 since: python -m fastsep.evaluate" in capsys.readouterr().err


def test_scores_of_swaps_and_those_that_are_not_finite(tmp_path):
    swap = {"mse": {"2": 0.125, "3": 0.375}}
    runs = [scored(tmp_path / f"{seed}", [None, 0.5][seed], seed=seed, swap=swap) for seed in (0, 1)]
    text = format_comparison(compare_runs(runs))
    assert "model, 2 runs  1 of 2 not finite" in text
    swapped = text.split("\n\n")[-1].splitlines()
    assert swapped[0].startswith("swapped, mean over the frames up to") and len(swapped) == 2
    assert swapped[1].split()[-6:] == ["0.125", "±", "0", "0.375", "±", "0"]


def test_trained_runs_are_compared_written_and_drawn(tmp_path, capsys):
    waves = make_waves(tmp_path / "waves", WaveSettings(10, 80))
    for seed in (0, 1):
        config = wave100(waves, steps=4)
        train(replace(config, run=replace(config.run, seed=seed)), tmp_path / f"run{seed}", False)
        evaluate_run(tmp_path / f"run{seed}", figures=False, progress=False)
    table, picture = tmp_path / "new" / "seeds.csv", tmp_path / "seeds.png"
    capsys.readouterr()
    status, out, errors = run_command(
        "compare", tmp_path / "run0", tmp_path / "run1", "--csv", table, "--figure", picture, capsys=capsys
    )
    assert (status, errors) == (0, "") and out.endswith(f"{table}\n{picture}\n") and "model, 2 runs" in out
    rows = list(csv.DictReader(table.open()))
    assert [row["who"] for row in rows] == ["model", "persistence", "mean frame"]
    assert [(row["runs"], row["seeds"]) for row in rows] == [("2", "0 1"), ("1", ""), ("1", "")]
    values = [json.loads((tmp_path / f"run{s}" / "metrics.json").read_text())["scores"]["model"] for s in (0, 1)]
    values = [value["mse"][rows[0]["frames"]] for value in values]
    assert [*map(float, rows[0]["values"].split())] == values
    assert float(rows[0]["mean"]) == statistics.mean(values)
    assert float(rows[0]["deviation"]) == statistics.stdev(values)
    assert picture.read_bytes().startswith(b"\x89PNG") and torch.tensor(values).isfinite().all()


def test_files_of_another_format_or_out_of_reach_are_one_line(tmp_path, capsys):
    run = scored(tmp_path / "run")
    for option, name, message in (
        ("--csv", "a.xlsx", r"a.xlsx ends in none of .csv: name such a file with --csv"),
        ("--figure", "a.gif", r"a.gif ends in none of .png, .pdf, .svg: name such a file with --figure"),
        ("--csv", "run/config.json/a.csv", "cannot write "),
        ("--figure", "run/config.json/a.png", "cannot write "),
    ):
        status, out, errors = run_command("compare", run, option, tmp_path / name, capsys=capsys)
        assert status == 2 and message in errors and errors.count("\n") == 1
        assert "persistence" in out  # what was asked for first is there
