"""Runs a protocol over a test set: scores of every predictor at every horizon, in bounded memory.

Letters: B batch, P permutations of objects, n conditioning frames, h forecast horizon; ``*shape`` one frame.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict

import torch

from fastsep import distributed
from fastsep.data.windows import Windows
from fastsep.evaluation.forecasting import batches, forecasts
from fastsep.evaluation.protocols import Protocol, image_scores
from fastsep.evaluation.sums import Sums
from fastsep.model import SeparableModel

MODEL = "model"

Curves = dict[str, dict[str, list[float]]]
"""Predictor -> score -> its value at t+1, t+2, ... (each frame alone, mean over the test windows)."""


class Stopwatch:
    """Adds up where the time of an evaluation goes, the device's work included."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Count the time since the last lap as ``name``."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now


def score_forecasts(
    model: SeparableModel,
    windows: Windows,
    protocol: Protocol,
    horizon: int,
    batch_size: int | None = None,
    progress: bool = False,
    watch: Stopwatch | None = None,
) -> Curves:
    """Score the model and the protocol's baselines; ``watch`` takes the times of ``forecasts`` and ``scores``."""
    watch = watch or Stopwatch(windows.device)
    sums = Sums(distributed.current())
    for batch in forecasts(model, windows, horizon, batch_size, progress):
        watch.lap("forecasts")
        scores = {MODEL: protocol.score(batch.forecast, batch)}
        for name, forecast in protocol.baselines(batch).items():
            scores[name] = protocol.score_baseline(forecast, batch)
        for predictor, values in scores.items():
            for name, score in values.items():
                sums.add((predictor, name), score.double().sum(0))  # (h,)
        watch.lap("scores")
    curves: Curves = defaultdict(dict)
    for (predictor, name), total in sums.totals().items():
        mean = total / len(windows)
        curves[predictor][name] = (mean.sqrt() if protocol.metrics[name].root else mean).tolist()
    return dict(curves)


def score_swaps(
    model: SeparableModel,
    windows: Windows,
    protocol: Protocol,
    horizons: list[int],
    batch_size: int | None = None,
    progress: bool = False,
    watch: Stopwatch | None = None,
) -> dict[str, dict[int, float]]:
    """Score forecasts that take S from one window and T from another: score -> horizon -> value.

    Window i gives the motion, the window as far from the end as i is from the start gives the content (in the middle of
    an odd number they are one window). Where several objects can be matched with the trajectories in different ways,
    each window counts with its best matching, for each score and horizon on its own (as published).
    """
    watch = watch or Stopwatch(windows.device)
    n, horizon = model.config.nt_cond, max(horizons)
    sums = Sums(distributed.current())
    for motion in batches(model, windows, horizon, batch_size, "swaps", progress):
        content = len(windows) - 1 - motion
        forecast = model.swap(windows.batch(content)[:, :n], windows.batch(motion)[:, :n], horizon)
        watch.lap("forecasts")
        truths = protocol.swap_targets(content, motion)[:, :, n : n + horizon]  # (B, P, h, *shape)
        scores = [image_scores(forecast, truth) for truth in truths.unbind(1)]
        for name, metric in protocol.swap_metrics.items():
            values = torch.stack([score[name] for score in scores]).double()  # (P, B, h)
            for k in horizons:
                of_window = values[..., :k].mean(-1)  # (P, B)
                best = of_window.amin(0) if metric.lower_is_better else of_window.amax(0)
                sums.add((name, k), best.sum())
        watch.lap("scores")
    result: dict[str, dict[int, float]] = defaultdict(dict)
    for (name, k), total in sums.totals().items():
        result[name][k] = (total / len(windows)).item()
    return dict(result)


def mean_up_to(curve: list[float], horizon: int, root: bool = False) -> float:
    """The score at t+horizon as published: the mean over the predicted frames 1..horizon; of squares for a ``root``."""
    if root:
        return math.sqrt(sum(value * value for value in curve[:horizon]) / horizon)
    return sum(curve[:horizon]) / horizon
