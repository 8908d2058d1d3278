"""Protocols that need to know their data set."""

from __future__ import annotations

from pkgutil import resolve_name

import numpy as np
import pytest
import torch

from fastsep.data import DATASETS
from fastsep.data.chairs.settings import Chairs
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.sst.files import write_zone
from fastsep.data.sst.settings import SST
from fastsep.data.wave.settings import Wave100
from fastsep.evaluation.forecasting import Batch
from fastsep.evaluation.metrics import ssim
from fastsep.evaluation.own_data import OwnData
from fastsep.evaluation.protocols import ChairsProtocol, MNISTProtocol, SSTProtocol, WaveProtocol
from fastsep.presets import PRESETS

CPU = torch.device("cpu")
ZONES = (17, 20)


def test_every_published_data_set_has_a_protocol_and_an_appearance():
    for preset in PRESETS.values():
        data = preset().data
        assert data.appearance and not issubclass(resolve_name(data.protocol), OwnData), data.name


def test_horizons_are_the_papers():
    published = {name: resolve_name(kind.protocol).horizons for name, kind in DATASETS.items()}
    assert published["wave"] == published["wave100"] == (40,)
    assert published["mnist"] == (10, 95)
    assert published["taxibj"] == (4,)
    assert published["sst"] == (6, 10)


def test_the_mean_frame_of_waves_is_that_of_all_training_sequences():
    settings = Wave100(size=6, windows="published")
    train, test = (settings.open(split, 5, 10, CPU) for split in ("train", "test"))
    assert train.starts[:, 0].max() < 3  # published windows lie in the first sequences
    mean = WaveProtocol(settings, test).mean_frame
    torch.testing.assert_close(mean, train.frames.flatten(0, 1).mean(0))


def test_mnist_swaps_show_the_contents_digits_on_the_motions_paths():
    settings = MovingMNIST(digits="sklearn", test_videos=4, test_frames=12)
    windows = settings.open("test", 5, 7, CPU)
    protocol = MNISTProtocol(settings, windows)
    same = torch.tensor([2])
    targets = protocol.swap_targets(same, same)
    assert targets.shape == (1, 2, 12, 1, 64, 64)
    assert any(torch.equal(target, windows.batch(same)[0]) for target in targets[0])


def test_chairs_swaps_show_the_contents_chair_from_the_motions_views(tmp_path):
    views = np.random.RandomState(0).randint(0, 256, (20, 62, 3, 64, 64)).astype(np.uint8)
    np.save(tmp_path / "chairs.npy", views)
    settings = Chairs(data=tmp_path / "chairs.npy")
    windows = settings.open("test", 5, 10, CPU)
    protocol = ChairsProtocol(settings, windows)
    content, motion = torch.tensor([0, 7, 100]), torch.tensor([185, 4, 100])
    targets = protocol.swap_targets(content, motion)
    assert targets.shape == (3, 1, 15, 3, 64, 64)
    for target, c, m in zip(targets[:, 0], content, motion, strict=True):
        chair, view = windows.starts[c, 0], windows.starts[m, 1]
        expected = torch.from_numpy(views)[chair, (view + torch.arange(15)) % 62] / 255
        torch.testing.assert_close(target, expected)


@pytest.fixture
def sst(tmp_path):
    pytest.importorskip("h5netcdf")
    random = np.random.RandomState(0)
    for zone in ZONES:
        drift = np.linspace(0, 3, 100)[:, None, None]
        thetao = (15 + drift + 5 * random.standard_normal((100, 64, 64))).astype(np.float32)
        variables = {
            "thetao": (("time", "latitude", "longitude"), thetao),
            "daily_mean": (("day",), (15 + random.standard_normal(100)).astype(np.float32)),
            "daily_std": (("other_day",), (1 + random.uniform(size=100)).astype(np.float32)),
        }
        write_zone(tmp_path / f"data_{zone}.nc", variables, {}, {})
    return SST(data=tmp_path, zones=(17,), test_zones=ZONES), tmp_path


def test_sst_is_scored_in_degrees_with_and_without_the_targets_statistics(sst):
    settings, directory = sst
    windows = settings.open("test", 4, 6, CPU)
    protocol = SSTProtocol(settings, windows)
    index = torch.tensor([0, len(windows) - 1])
    video = windows.batch(index)
    cond, truth = video[:, :4], video[:, 4:]
    forecast = truth + 0.5
    scores = protocol.score(forecast, Batch(index, cond, truth, forecast))
    assert set(scores) == set(protocol.metrics) and all(score.shape == (2, 6) for score in scores.values())

    from fastsep.data.sst.files import read_zone

    for row, zone in enumerate(ZONES):
        celsius, mean, std = (torch.from_numpy(x) for x in read_zone(directory, zone))
        first = windows.starts[index[row], 1] + 80  # in the file
        days = torch.arange(first + 4, first + 10)
        normalised = (celsius - mean[:, None, None]) / std[:, None, None]
        spread, centre = normalised.std((1, 2), correction=0), normalised.mean((1, 2))
        helped = std[days] * 0.5 * spread[days]
        torch.testing.assert_close(scores["mse_target"][row], helped.square(), rtol=1e-3, atol=1e-4)

        last = first + 3
        predicted = (forecast[row, :, 0] * spread[last] + centre[last]) * std[days, None, None] + mean[days, None, None]
        unhelped = (predicted - celsius[days]).square().mean((1, 2))
        torch.testing.assert_close(scores["mse_last"][row], unhelped, rtol=1e-3, atol=1e-4)

        frames = (normalised - centre[:, None, None]) / spread[:, None, None]
        low, high = frames.min(), frames.max()
        similar = ssim(((predicted - low) / (high - low))[:, None], ((celsius[days] - low) / (high - low))[:, None])
        torch.testing.assert_close(scores["ssim_last"][row], similar, rtol=1e-3, atol=1e-3)


def test_sst_names_the_published_and_the_other_scale(sst):
    settings, _ = sst
    labels = SSTProtocol(settings, settings.open("test", 4, 6, CPU)).labels()
    assert "published" in labels["mse_target"] and "last known frame" in labels["mse_last"]
    assert all("published" not in labels[name] for name in ("mse_last", "ssim_last"))
