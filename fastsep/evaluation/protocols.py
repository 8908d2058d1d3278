"""What is scored on each data set, and at which horizons (paper, section 4).

Letters: B batch, P permutations of objects, m frames after the conditioning frames, h forecast horizon, Z zones;
``*shape`` one frame.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fastsep.data.base import DataConfig
from fastsep.data.chairs.views import VIEWS
from fastsep.data.sst.reader import SSTWindows
from fastsep.data.sst.settings import SST
from fastsep.data.windows import Windows
from fastsep.evaluation.forecasting import Batch
from fastsep.evaluation.metrics import mse, psnr, ssim


@dataclass(frozen=True)
class Metric:
    """A score as tables and figures show it."""

    label: str
    """Name and unit."""
    lower_is_better: bool = True
    root: bool = False
    """The root of a mean: what is scored of each frame are squares."""


MSE = Metric("MSE")
PSNR = Metric("PSNR [dB]", lower_is_better=False)
SSIM = Metric("SSIM", lower_is_better=False)
PERSISTENCE = "persistence"
MEAN_FRAME = "mean frame"


class Protocol:
    """Mean squared error in the units in which the model sees frames; other data sets refine it.

    Args:
        settings: the data set.
        windows: its test windows.
    """

    horizons: ClassVar[tuple[int, ...]] = (10,)
    """Published horizons k; a score at t+k is the mean over the predicted frames 1..k."""
    metrics: ClassVar[dict[str, Metric]] = {"mse": MSE}
    """Scores of the model by name."""
    swap_metrics: ClassVar[dict[str, Metric]] = {}
    """Scores of swapped content and motion; none where a data set has no ground truth for it."""
    always_swap: ClassVar[bool] = False
    """Swap scores are the published ones."""
    mean_frame: Tensor | None = None
    """(*shape), a constant forecast to compare with, where one is published."""

    def __init__(self, settings: DataConfig, windows: Windows):
        self.windows = windows

    def labels(self) -> dict[str, str]:
        """Name and unit of every score."""
        return {name: metric.label for name, metric in (self.metrics | self.swap_metrics).items()}

    def baselines(self, batch: Batch) -> dict[str, Tensor]:
        """Forecasts (B, h, *shape) that need no model: the last conditioning frame repeated, the mean frame if any."""
        frames = {PERSISTENCE: batch.cond[:, -1]}
        if self.mean_frame is not None:
            frames[MEAN_FRAME] = self.mean_frame.expand_as(batch.cond[:, 0])
        return {name: frame[:, None].expand_as(batch.truth) for name, frame in frames.items()}

    def score(self, forecast: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Every score in ``metrics`` of ``forecast`` (B, h, *shape) for each frame: (B, h) each."""
        return self.score_baseline(forecast, batch)

    def score_baseline(self, forecast: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The scores that baselines are given too: (B, h) each."""
        return {"mse": mse(forecast, batch.truth, len(self.windows.shape))}

    def swap_targets(self, content: Tensor, motion: Tensor) -> Tensor:
        """What swapping the windows ``content`` and ``motion`` (B,) should give: (B, P, length, *shape)."""
        raise NotImplementedError


class Images(Protocol):
    """PSNR and SSIM beside MSE."""

    metrics: ClassVar[dict[str, Metric]] = {"mse": MSE, "psnr": PSNR, "ssim": SSIM}
    swap_metrics: ClassVar[dict[str, Metric]] = metrics

    def score(self, forecast: Tensor, batch: Batch) -> dict[str, Tensor]:
        return image_scores(forecast, batch.truth)


class WaveProtocol(Protocol):
    """WaveEq and WaveEq-100. The mean frame is that of all training sequences, whichever windows are trained on."""

    horizons = (40,)
    metrics: ClassVar[dict[str, Metric]] = {"mse": Metric("MSE (sequences scaled to 0..1)")}

    def __init__(self, settings: DataConfig, windows: Windows):
        super().__init__(settings, windows)
        self.mean_frame = mean_of_frames(settings.open("train", 1, 1, windows.device).frames)


class MNISTProtocol(Images):
    """Moving MNIST. Which digit of the content takes which trajectory is open, so the best pairing counts."""

    horizons = (10, 95)

    def swap_targets(self, content: Tensor, motion: Tensor) -> Tensor:
        return self.windows.swap_targets(content, motion)


class ChairsProtocol(Images):
    """3D Warehouse Chairs: published for swapped content and motion only."""

    always_swap = True

    def swap_targets(self, content: Tensor, motion: Tensor) -> Tensor:
        # Windows are numbered by view, then by chair.
        chairs = len(self.windows) // VIEWS
        return self.windows.batch(motion // chairs * chairs + content % chairs)[:, None]


class TaxiBJProtocol(Protocol):
    """TaxiBJ."""

    horizons = (4,)
    metrics: ClassVar[dict[str, Metric]] = {"mse": Metric("MSE (flows scaled to 0..1)")}


class SSTProtocol(Protocol):
    """Sea surface temperature in degrees Celsius.

    The model forecasts frames normalised by their own spatial mean and standard deviation. The published scores undo
    this with the statistics of the frame to be forecast, which no forecaster knows (``target``); the others use those
    of the last conditioning frame (``last``). For SSIM, frames in degrees are shifted and scaled by the least and the
    largest normalised value of their zone, as published; they do not lie in 0 to 1, but the constants assume so.
    """

    horizons = (6, 10)
    metrics: ClassVar[dict[str, Metric]] = {
        "mse_target": Metric("MSE [°C²], scale of the target frame (published)"),
        "ssim_target": Metric("SSIM, scale of the target frame (published)", lower_is_better=False),
        "mse_last": Metric("MSE [°C²], scale of the last known frame"),
        "ssim_last": Metric("SSIM, scale of the last known frame", lower_is_better=False),
    }

    def __init__(self, settings: SST, windows: SSTWindows):
        super().__init__(settings, windows)
        earlier = dataclasses.replace(settings, zones=settings.test_zones).open("train", 1, 1, torch.device("cpu"))
        parts = [(w.frames.flatten(1).amin(1).cpu(), w.frames.flatten(1).amax(1).cpu()) for w in (earlier, windows)]
        low = torch.minimum(parts[0][0], parts[1][0]).to(windows.device)
        high = torch.maximum(parts[0][1], parts[1][1]).to(windows.device)
        self._zones = torch.tensor(settings.test_zones, device=windows.device)
        self._low, self._span = low, high - low  # (Z,), (Z,)

    def score(self, forecast: Tensor, batch: Batch) -> dict[str, Tensor]:
        return self._scores(forecast, batch, similarity=True)

    def score_baseline(self, forecast: Tensor, batch: Batch) -> dict[str, Tensor]:
        return self._scores(forecast, batch, similarity=False)

    def _scores(self, forecast: Tensor, batch: Batch, similarity: bool) -> dict[str, Tensor]:
        normalisation = self.windows.normalisation(batch.index)
        truth = normalisation.celsius(batch.truth, "target")
        row = (normalisation.zone[:, None] == self._zones).int().argmax(1)  # (B,)
        low, span = (value[row][:, None, None, None, None] for value in (self._low, self._span))
        scores = {}
        kinds: tuple[Literal["target", "last"], ...] = ("target", "last")
        for kind in kinds:
            celsius = normalisation.celsius(forecast, kind)
            scores[f"mse_{kind}"] = mse(celsius, truth)
            if similarity:
                scores[f"ssim_{kind}"] = ssim((celsius - low) / span, (truth - low) / span)
        return scores


def image_scores(forecast: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """MSE, PSNR and SSIM of frames (..., C, H, W) with values of 0 to 1: (...) each."""
    return {"mse": mse(forecast, truth), "psnr": psnr(forecast, truth), "ssim": ssim(forecast, truth)}


def mean_of_frames(sequences: Tensor) -> Tensor:
    """The mean of all frames (N, T, *shape): (*shape)."""
    total = torch.zeros(sequences.shape[2:], dtype=torch.float64, device=sequences.device)
    for frames in sequences:
        total += frames.mean(0, dtype=torch.float64)
    return (total / len(sequences)).float()
