from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch

from fastsep.config import ModelConfig
from fastsep.data.base import DataConfig
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.evaluation.forecasting import default_batch_size, exact_float32, forecasts
from fastsep.evaluation.metrics import psnr, ssim
from fastsep.evaluation.protocols import (
    MEAN_FRAME,
    PERSISTENCE,
    Images,
    MNISTProtocol,
    Protocol,
    mean_of_frames,
)
from fastsep.evaluation.scoring import (
    MODEL,
    Stopwatch,
    mean_up_to,
    score_forecasts,
    score_swaps,
)
from fastsep.model import SeparableModel

N_COND, HORIZON = 2, 3


class Drift:
    """Forecasts that add ``step`` a frame to the last conditioning frame; a swap takes the motion's mean as step."""

    def __init__(self, step: float = 0.0):
        self.config = SimpleNamespace(nt_cond=N_COND, decoder="mlp", shape=(1, 12, 12))
        self.step = step

    def forecast(self, cond, horizon):
        return torch.stack([cond[:, -1] + self.step * k for k in range(1, horizon + 1)], dim=1)

    def swap(self, content, motion, horizon):
        step = motion[:, -1:].mean((2, 3, 4), keepdim=True)
        return content[:, -1:] + step * torch.arange(1, horizon + 1)[None, :, None, None, None]


def rising(sequences: int = 7, frames: int = 8) -> TensorWindows:
    """Sequences of frames that rise by 0.1 a frame, from different starts."""
    start = torch.linspace(0, 1, sequences)[:, None]
    values = start + 0.1 * torch.arange(frames)
    videos = values[:, :, None, None, None].expand(-1, -1, 1, 12, 12).contiguous()
    length = N_COND + HORIZON
    return TensorWindows(videos, all_starts(sequences, frames, length), length)


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_errors_of_each_horizon_whatever_the_batch(batch_size):
    windows = rising()
    protocol = Protocol(DataConfig(), windows)
    curves = score_forecasts(Drift(0.15), windows, protocol, HORIZON, batch_size)
    expected = [(0.05 * k) ** 2 for k in (1, 2, 3)]
    assert curves[MODEL]["mse"] == pytest.approx(expected, rel=1e-4)
    assert curves[PERSISTENCE]["mse"] == pytest.approx([(0.1 * k) ** 2 for k in (1, 2, 3)], rel=1e-4)
    assert MEAN_FRAME not in curves
    assert mean_up_to(curves[MODEL]["mse"], 2) == pytest.approx(sum(expected[:2]) / 2, rel=1e-4)


def test_mean_frame_is_the_mean_of_the_training_frames():
    windows = rising()
    protocol = Protocol(DataConfig(), windows)
    protocol.mean_frame = mean_of_frames(windows.frames)
    torch.testing.assert_close(protocol.mean_frame, windows.frames.flatten(0, 1).mean(0))
    every = torch.cat([windows.batch(torch.tensor([i])) for i in range(len(windows))])
    curves = score_forecasts(Drift(), windows, protocol, HORIZON)
    expected = (every[:, N_COND:] - protocol.mean_frame).square().flatten(2).mean((0, 2))
    assert curves[MEAN_FRAME]["mse"] == pytest.approx(expected.tolist(), rel=1e-5)


def test_images_are_scored_frame_by_frame():
    generator = torch.Generator().manual_seed(0)
    videos = torch.rand(4, N_COND + HORIZON, 1, 16, 16, generator=generator)
    windows = TensorWindows(videos, all_starts(4, N_COND + HORIZON, N_COND + HORIZON), N_COND + HORIZON)
    curves = score_forecasts(Drift(), windows, Images(DataConfig(), windows), HORIZON, batch_size=3)
    forecast, truth = videos[:, 1:2].expand(-1, HORIZON, -1, -1, -1), videos[:, N_COND:]
    assert curves[MODEL]["psnr"] == pytest.approx(psnr(forecast, truth).mean(0).tolist(), rel=1e-5)
    assert curves[MODEL]["ssim"] == pytest.approx(ssim(forecast, truth).mean(0).tolist(), abs=1e-5)
    assert set(curves[PERSISTENCE]) == {"mse"}


class TwoWays(TensorWindows):
    """Two candidate truths for a swap: one for even motions, one for odd ones, so that the best must be chosen."""

    def swap_targets(self, content, motion):
        right = self.batch(content)[:, N_COND - 1 : N_COND].expand(-1, self.length, -1, -1, -1)
        is_even = (motion % 2 == 0)[:, None, None, None, None]
        return torch.stack([torch.where(is_even, right, 1 - right), torch.where(is_even, 1 - right, right)], dim=1)


def test_swap_takes_the_best_pairing_of_each_window():
    length = N_COND + HORIZON
    videos = torch.rand(6, length, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    videos[:, 1] -= videos[:, 1].mean((1, 2, 3), keepdim=True)  # motion without a step: the forecast is the content
    windows = TwoWays(videos, all_starts(6, length, length), length)
    scores = score_swaps(Drift(), windows, MNISTProtocol(DataConfig(), windows), [1, 3], batch_size=4)
    assert set(scores) == {"mse", "psnr", "ssim"}
    for k in (1, 3):
        assert scores["mse"][k] == pytest.approx(0, abs=1e-8)
        assert scores["ssim"][k] == pytest.approx(1, abs=1e-3)


def test_forecasts_come_in_order_and_cover_every_window():
    windows = rising()
    seen = list(forecasts(Drift(), windows, HORIZON, batch_size=4))
    assert torch.cat([batch.index for batch in seen]).tolist() == list(range(len(windows)))
    assert all(batch.truth.shape == batch.forecast.shape for batch in seen)


def test_default_batch_is_bounded_by_frames():
    model = Drift()
    assert default_batch_size(model, 40, torch.device("cpu")) == 8192 // 40
    assert default_batch_size(model, 10**6, torch.device("cpu")) == 1


def test_scoring_is_float32_without_tf32_and_leaves_settings_as_they_were():
    torch.set_float32_matmul_precision("high")
    try:
        with exact_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.is_inference_mode_enabled() and not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_real_model_is_scored_as_it_forecasts():
    shape = (1, 9)
    config = ModelConfig(
        shape=shape, encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4, enc_hidden_size=8,
        dec_hidden_size=8, res_hidden_size=8, nt_cond=N_COND, offset=N_COND,
    )  # fmt: skip
    model = SeparableModel(config).eval()
    length = N_COND + HORIZON
    videos = torch.rand(3, length, *shape)
    windows = TensorWindows(videos, all_starts(3, length, length), length)
    with exact_float32():
        watch = Stopwatch(windows.device)
        begin = time.perf_counter()
        curves = score_forecasts(model, windows, Protocol(DataConfig(), windows), HORIZON, watch=watch)
        elapsed = time.perf_counter() - begin
        expected = (model.forecast(videos[:, :N_COND], HORIZON) - videos[:, N_COND:]).square().mean((0, 2, 3))
    assert curves[MODEL]["mse"] == pytest.approx(expected.tolist(), rel=1e-5)
    assert set(watch.seconds) == {"forecasts", "scores"} and min(watch.seconds.values()) > 0
    assert sum(watch.seconds.values()) <= elapsed
