"""A training run that is kept: interrupted, it goes on; finished, it is not trained again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.reproduce import reproduce, training_seconds
from fastsep.errors import UserError
from fastsep.runs.log_file import read_log

CPU = torch.device("cpu")


def raises(error: Exception) -> None:
    raise error


def test_a_finished_run_is_neither_trained_nor_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    first = reproduce("wave100-published", 0, run, CPU, small=True)
    assert [score["step"] for score in first["scores"]] == [2]
    assert first["seconds"] > 0 and first["scores"][0]["metrics"]["scores"]["model"]["mse"]

    # Interrupted while it was scored: the weights are there, the scores are not.
    (run / "scores.json").unlink()
    checkpoints, aside = run / "checkpoints", run / "aside"
    checkpoints.rename(aside)
    with pytest.raises(RuntimeError, match="trains"), monkeypatch.context() as patch:
        # Ended before its first checkpoint, it starts again instead of refusing.
        patch.setattr("fastsep.training.trainer.Trainer.fit", lambda self: raises(RuntimeError("trains")))
        reproduce("wave100-published", 0, run, CPU, small=True)
    aside.rename(checkpoints)
    monkeypatch.setattr("fastsep.training.trainer.Trainer.fit", lambda self: pytest.fail("trained again"))
    again = reproduce("wave100-published", 0, run, CPU, small=True)
    assert again["scores"][0]["metrics"]["scores"] == first["scores"][0]["metrics"]["scores"]

    monkeypatch.setattr("fastsep.evaluation.evaluate_run", lambda *a, **k: pytest.fail("scored again"))
    assert reproduce("wave100-published", 0, run, CPU, small=True)["scores"] == again["scores"]
    with pytest.raises(UserError, match="other settings"):
        reproduce("wave100-published", 1, run, CPU, small=True)
    assert len(read_log(run)) == 1


def test_a_run_ends_where_it_is_told_and_goes_on_another_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, ends = tmp_path / "run", []
    monkeypatch.setattr("bench.reproduce.STOPS_SMALL", (2, 3))
    whole = reproduce("wave100-published", 0, tmp_path / "whole", CPU, small=True)
    for until in (2, None):
        result = reproduce("wave100-published", 0, run, CPU, small=True, until=until)
        ends.append([score["step"] for score in result["scores"]])
    assert ends == [[2], [2, 3]]
    errors = [value["scores"][1]["metrics"]["scores"]["model"]["mse"]["40"] for value in (result, whole)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)
    with pytest.raises(UserError, match="not scored after 5 steps: --until takes 2, 3"):
        reproduce("wave100-published", 0, run, CPU, small=True, until=5)


def test_training_time_is_that_of_the_steps() -> None:
    log = [{"step": 50, "sequences_per_second": 100.0}, {"step": 150, "sequences_per_second": 50.0}]
    assert training_seconds(log, batch=10) == pytest.approx(50 * 10 / 100 + 100 * 10 / 50)
