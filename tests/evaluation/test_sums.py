"""Several processes share an evaluation and come to the digits of one."""

import json

import pytest
import torch
from rank_cases import mnist, score, score_with_memory_of, wave100
from ranks import run_ranks

from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.errors import UserError
from fastsep.training.loop import train


@pytest.mark.slow
def test_scores_are_the_same_to_the_last_digit(tmp_path):
    data = generate(tmp_path / "waves", WaveSettings(20, 100), torch.device("cpu"))
    run = tmp_path / "run"
    train(wave100(data), run, False)
    alone = score(run, batch_size=3)
    (run / "metrics.json").unlink()
    for size in (2, 4):
        for result in run_ranks(size, score, run, 3):
            assert result == alone
        kept = json.loads((run / "metrics.json").read_text())
        assert kept["scores"] == alone["scores"] and kept["curves"] == alone["curves"]


@pytest.mark.slow
def test_ranks_short_of_memory_deal_out_all_windows_once(tmp_path):
    data, run = generate(tmp_path / "waves", WaveSettings(20, 100), torch.device("cpu")), tmp_path / "run"
    train(wave100(data), run, False)
    alone = score(run, batch_size=3)["curves"]
    free = [n * 4 * 40 << 16 for n in (5, 3)]  # a quarter of it for so many forecasts of 40 frames
    for curves in run_ranks(2, score_with_memory_of, run, free, [40, 40]):
        assert curves == alone
    results = run_ranks(2, score_with_memory_of, run, free, [40, 30])
    (told,) = [error for error in results if isinstance(error, UserError)]
    assert "rank 1 does not score what rank 0 scores (step 12, horizon 30" in str(told)


@pytest.mark.slow
def test_swapped_scores_are_the_same_where_ranks_are_left_without_windows(tmp_path):
    run = tmp_path / "run"
    train(mnist(steps=1), run, False)
    alone = score(run, batch_size=2, swap=True)
    for result in run_ranks(3, score, run, 2, True):  # four windows
        assert result == alone
