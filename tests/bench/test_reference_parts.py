"""The naive generator and scores against the golden values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from bench.reference.metrics import score_frames
from bench.reference.wave import simulate_one

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "data.json").read_text())


def test_naive_wave_is_the_published_sequence() -> None:
    golden = GOLDEN["wave_eq"]
    f0, c = golden["f0_c_first_8"][0]
    sequence = golden["sequences"][0]
    frames = simulate_one(c, f0, frames=51)
    peak = max(abs(sequence["min"]), abs(sequence["max"]))
    for k in (1, 2, 10, 50):
        row = sequence["frames"][str(k)]
        values = frames[k].flatten()[row["index"]].double()
        assert (values - torch.tensor(row["value"], dtype=torch.float64)).abs().max() < 2e-5 * peak


def test_naive_scores_are_the_published_ones() -> None:
    golden = GOLDEN["metrics"]
    pred = np.random.RandomState(1).uniform(size=(2, 3, 1, 64, 64)).astype(np.float32)
    noise = np.random.RandomState(2).standard_normal(pred.shape)
    target = np.clip(pred + 0.1 * noise, 0, 1).astype(np.float32)
    scores = score_frames(torch.as_tensor(pred), torch.as_tensor(target))
    for name, values in scores.items():
        np.testing.assert_allclose(values.numpy(), golden[name], rtol=1e-5)
