"""Each published preset on made data, with narrow networks: it trains, and its run is scored and drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fastsep.config import Config
from fastsep.data.base import DataConfig
from fastsep.data.chairs.settings import Chairs
from fastsep.data.chairs.views import SIZE, VIEWS
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.sst.files import SIDE, write_zone
from fastsep.data.sst.settings import SST
from fastsep.data.taxibj.reader import SLOTS_PER_DAY
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.evaluation import evaluate_run
from fastsep.presets import PRESETS
from fastsep.runs.log_file import read_log
from fastsep.training.loop import train

# Networks whose width is fixed take seconds already.
DRAWN_ONLY_IF_SLOW = [False, pytest.param(True, marks=pytest.mark.slow)]


def bundled_digits() -> MovingMNIST:
    return MovingMNIST(digits="sklearn", videos_per_epoch=8, test_videos=3, test_frames=20)


def noise_for_chairs(directory: Path) -> Chairs:
    """Four chairs, of which one tests."""
    views = np.random.default_rng(0).integers(0, 256, (4, VIEWS, 3, SIZE, SIZE), np.uint8)
    np.save(directory / "chairs.npy", views)
    return Chairs(data=directory / "chairs.npy")


def noise_for_taxis(directory: Path) -> TaxiBJ:
    """Four times eight days: the last 28 of the 32 test."""
    random = np.random.default_rng(0)
    for year in (13, 14, 15, 16):
        days = [date(2000 + year, 3, 1) + timedelta(k) for k in range(8)]
        with h5py.File(directory / f"BJ{year}_M32x32_T30_InOut.h5", "w") as file:
            file["date"] = [f"{day:%Y%m%d}{slot:02d}".encode() for day in days for slot in range(1, SLOTS_PER_DAY + 1)]
            file["data"] = random.uniform(0, 1000, (len(days) * SLOTS_PER_DAY, 2, 32, 32)).astype(np.float32)
    return TaxiBJ(data=directory)


def noise_for_seas(directory: Path) -> SST:
    """Two zones of 60 days, the last twelve of which test."""
    random = np.random.default_rng(0)
    for zone in (17, 18):
        temperature = (15 + random.standard_normal((60, SIDE, SIDE))).astype(np.float32)
        variables = {
            "thetao": (("time", "latitude", "longitude"), temperature),
            "daily_mean": (("time",), np.full(60, 15, np.float32)),
            "daily_std": (("time",), np.ones(60, np.float32)),
        }
        write_zone(directory / f"data_{zone}.nc", variables, {}, {})
    return SST(data=directory, zones=(17, 18), test_zones=(17, 18))


def narrow(preset: str, data: DataConfig, steps: int, nt_pred: int) -> Config:
    """The preset with small networks, where their width is a setting, for a few steps of two sequences."""
    config = PRESETS[preset]()
    small = {"enc_hidden_size": 4, "dec_hidden_size": 4, "sst_filters": 4, "res_hidden_size": 8}
    small |= {"code_size_s": 6, "code_size_t": 4}
    return replace(
        config,
        data=data,
        model=replace(config.model, **small),
        objective=replace(config.objective, nt_pred=nt_pred),
        optim=replace(config.optim, batch_size=2, steps=steps),
        run=replace(config.run, device="cpu", precision="fp32", log_every=1, checkpoint_every=steps),
    )


def check(
    preset: str,
    data: DataConfig,
    run: Path,
    scores: set[str],
    *,
    steps: int = 1,
    nt_pred: int = 2,
    horizon: int = 3,
    swap: bool = False,
    figures: bool = True,
) -> None:
    """Train and evaluate, and look at what the run directory then holds."""
    config = narrow(preset, data, steps, nt_pred)
    train(config, run, show_progress=False)
    rows = read_log(run)
    assert [row["step"] for row in rows] == list(range(1, steps + 1))
    assert all(math.isfinite(row["total"]) for row in rows)

    result = evaluate_run(run, horizon=horizon, swap=swap, device="cpu", figures=figures, progress=False)
    assert result["dataset"] == config.data.name
    assert result["horizon"] == horizon
    assert set(result["scores"]["model"]) == scores
    assert ("swap" in result) == (swap or preset == "chairs")
    assert all(math.isfinite(score) for score in _numbers({**result["scores"], "swap": result.get("swap", {})}))
    assert (run / "metrics.json").stat().st_size > 0
    if figures:
        assert {Path(figure).name for figure in result["figures"]} >= {"forecast.png", "forecast.gif", "swap.png"}
        assert all((run / figure).stat().st_size > 0 for figure in result["figures"])


def _numbers(values: Any) -> Iterator[float]:
    if isinstance(values, dict):
        for value in values.values():
            yield from _numbers(value)
    else:
        yield values


def test_mnist_on_the_bundled_digits(tmp_path):
    pytest.importorskip("sklearn")
    scores = {"mse", "psnr", "ssim"}
    check("mnist", bundled_digits(), tmp_path / "run", scores, steps=2, nt_pred=10, horizon=10, swap=True)


@pytest.mark.parametrize("figures", DRAWN_ONLY_IF_SLOW)
def test_chairs_on_noise(tmp_path, figures):
    check("chairs", noise_for_chairs(tmp_path), tmp_path / "run", {"mse", "psnr", "ssim"}, figures=figures)


def test_taxibj_on_noise(tmp_path):
    check("taxibj", noise_for_taxis(tmp_path), tmp_path / "run", {"mse"}, nt_pred=4, horizon=4)


def test_sst_on_noise(tmp_path):
    pytest.importorskip("xarray")
    scores = {"mse_target", "ssim_target", "mse_last", "ssim_last"}
    check("sst", noise_for_seas(tmp_path), tmp_path / "run", scores)
