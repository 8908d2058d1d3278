from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fastsep.evaluation.metrics import mse, psnr, ssim

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "data.json").read_text())["metrics"]


def golden_frames() -> tuple[torch.Tensor, torch.Tensor]:
    shape = (2, 3, 1, 64, 64)
    forecast = np.random.RandomState(1).uniform(size=shape).astype(np.float32)
    noise = 0.1 * np.random.RandomState(2).standard_normal(shape)
    truth = np.clip(forecast + noise, 0, 1).astype(np.float32)
    return torch.from_numpy(forecast), torch.from_numpy(truth)


@pytest.mark.parametrize(("metric", "tolerance"), [(mse, 1e-8), (psnr, 1e-5), (ssim, 1e-6)])
def test_golden_values(metric, tolerance):
    forecast, truth = golden_frames()
    expected = torch.tensor(GOLDEN[metric.__name__])
    torch.testing.assert_close(metric(forecast, truth), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(metric(forecast.double(), truth.double()).float(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 64), (2, 11, 23)])
def test_ssim_equals_scikit_image(shape):
    skimage_metrics = pytest.importorskip("skimage.metrics")
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(130, *shape, generator=generator)  # more frames than one chunk
    forecast = (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    scores = ssim(forecast, truth)
    assert scores.shape == (130,)
    for k in (0, 63, 64, 129):
        channels = []
        for x, y in zip(forecast[k].numpy(), truth[k].numpy(), strict=True):
            full = skimage_metrics.structural_similarity(
                x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
            )[1]
            channels.append(full[5 : full.shape[0] - 5, 5 : full.shape[1] - 5].mean())  # windows inside the frame
        assert scores[k].item() == pytest.approx(float(np.mean(channels)), abs=2e-6)


def test_float32_survives_flat_regions():
    truth = torch.zeros(4, 1, 64, 64)
    truth[..., 10:50, 10:50] = 1  # variance 0, where the difference of moments cancels
    forecast = (truth + 1e-3 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    exact = ssim(forecast.double(), truth.double())
    torch.testing.assert_close(ssim(forecast, truth).double(), exact, rtol=0, atol=1e-5)


def test_perfect_frames():
    frames = torch.rand(2, 5, 1, 16, 16)
    assert ssim(frames, frames).sub(1).abs().max() < 1e-5
    assert mse(frames, frames).max() == 0
    torch.testing.assert_close(psnr(frames, frames), torch.full((2, 5), 100.0))


def test_arguments_keep_their_values():
    forecast, truth = golden_frames()
    kept = forecast.clone(), truth.clone()
    for metric in (mse, psnr, ssim):
        metric(forecast, truth)
    assert torch.equal(forecast, kept[0]) and torch.equal(truth, kept[1])


def test_mse_of_points():
    forecast, truth = torch.zeros(2, 3, 1, 100), torch.full((2, 3, 1, 100), 2.0)
    assert torch.equal(mse(forecast, truth, frame_dims=2), torch.full((2, 3), 4.0))


def test_psnr_averages_channels():
    truth = torch.zeros(1, 2, 16, 16)
    forecast = truth.clone()
    forecast[0, 0], forecast[0, 1] = 0.1, 0.01  # 20 and 40 dB
    assert psnr(forecast, truth).item() == pytest.approx(30, abs=1e-4)


def test_ssim_refuses_frames_below_its_window():
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(torch.zeros(1, 1, 10, 64), torch.zeros(1, 1, 10, 64))
