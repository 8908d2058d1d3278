"""What is scored on each data set, and at which horizons (paper, section 4).

Letters: B batch, n conditioning frames, h forecast horizon; ``*shape`` one frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fastsep.data.windows import Windows
from fastsep.evaluation.forecasting import Batch
from fastsep.evaluation.metrics import mse, psnr, ssim


@dataclass(frozen=True)
class Metric:
    """A score as tables and figures show it."""

    label: str
    """Name and unit."""
    lower_is_better: bool = True


MSE = Metric("MSE")
PSNR = Metric("PSNR [dB]", lower_is_better=False)
SSIM = Metric("SSIM", lower_is_better=False)


class Protocol:
    """Mean squared error in the units in which the model sees frames; other data sets refine it."""

    horizons: ClassVar[tuple[int, ...]] = (10,)
    """Published horizons k; a score at t+k is the mean over the predicted frames 1..k."""
    metrics: ClassVar[dict[str, Metric]] = {"mse": MSE}
    """Scores of the model by name; the first is the one that baselines share."""
    swap_metrics: ClassVar[dict[str, Metric]] = {}
    """Scores of swapped content and motion; none where a data set has no ground truth for it."""
    always_swap: ClassVar[bool] = False
    """Swap scores are the published ones."""

    def labels(self) -> dict[str, str]:
        """Name and unit of every score."""
        return {name: metric.label for name, metric in (self.metrics | self.swap_metrics).items()}

    def score(self, forecast: Tensor, batch: Batch, windows: Windows) -> dict[str, Tensor]:
        """Every score in ``metrics`` of ``forecast`` (B, h, *shape) for each frame: (B, h) each."""
        return self.score_baseline(forecast, batch, windows)

    def score_baseline(self, forecast: Tensor, batch: Batch, windows: Windows) -> dict[str, Tensor]:
        """The scores that baselines are given too: (B, h) each."""
        return {"mse": mse(forecast, batch.truth, len(windows.shape))}


    def shown(self, frames: Tensor, start: int, batch: Batch, windows: Windows) -> Tensor:
        """Frames (B, k, *shape) that begin at frame ``start`` of the windows, in the units that figures show."""
        return frames


class Images(Protocol):
    """PSNR and SSIM beside MSE."""

    metrics: ClassVar[dict[str, Metric]] = {"mse": MSE, "psnr": PSNR, "ssim": SSIM}
    swap_metrics: ClassVar[dict[str, Metric]] = metrics

    def score(self, forecast: Tensor, batch: Batch, windows: Windows) -> dict[str, Tensor]:
        return image_scores(forecast, batch.truth)


class WaveProtocol(Protocol):
    """WaveEq and WaveEq-100."""

    horizons = (40,)
    metrics: ClassVar[dict[str, Metric]] = {"mse": Metric("MSE (of sequences scaled to 0..1)")}


class MNISTProtocol(Images):
    """Moving MNIST."""

    horizons = (10, 95)


class ChairsProtocol(Images):
    """3D Warehouse Chairs: published for swapped content and motion only."""

    always_swap = True


class TaxiBJProtocol(Protocol):
    """TaxiBJ."""

    horizons = (4,)
    metrics: ClassVar[dict[str, Metric]] = {"mse": Metric("MSE (of flows scaled to 0..1)")}


PROTOCOLS: dict[str, Protocol] = {
    "wave": WaveProtocol(),
    "wave100": WaveProtocol(),
    "mnist": MNISTProtocol(),
    "chairs": ChairsProtocol(),
    "taxibj": TaxiBJProtocol(),
}
"""The protocol of each data set."""


def image_scores(forecast: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """MSE, PSNR and SSIM of frames (..., C, H, W) with values of 0 to 1: (...) each."""
    return {"mse": mse(forecast, truth), "psnr": psnr(forecast, truth), "ssim": ssim(forecast, truth)}
