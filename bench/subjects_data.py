"""Data and scores to time: wave generation, PSNR and SSIM, batches of every data set."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.reference import data as reference_data
from bench.reference import wave as reference_wave
from bench.reference.metrics import score_frame, score_frames
from bench.rows import Row
from bench.subjects import Subject, made_windows
from fastsep.data.mnist.reader import single_digits
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate as generate_file
from fastsep.evaluation import metrics as scores
from fastsep.presets import PRESETS
from kernels.wave import simulate

DATA = ("wave", "wave100", "mnist", "sst", "taxibj", "chairs")
"""Data sets; all but Moving MNIST are windows of a tensor on the device and differ in their frames alone."""


def generate(way: str, sequences: int, device: torch.device, frames: int = 300, grid: int = 64) -> Subject:
    """Sequences of the wave equation, c and f0 drawn as published; fastsep fills a tensor that is there already."""
    draws = np.random.RandomState(42).uniform((1, 300), (30, 400), (sequences, 2))
    f0, c = draws[:, 0], draws[:, 1]
    row = Row(
        "generate", way, device.type, "fp32", {"sequences": sequences}, items=sequences,
        bytes=4 * sequences * frames * grid**2, info={"frames": frames, "grid": grid},
    )  # fmt: skip
    if way.startswith("reference"):
        advance = reference_wave.step
        if "compiled" in way:
            advance = torch.compile(reference_wave.step, dynamic=True)

        def call() -> None:
            for k in range(sequences):
                reference_wave.simulate_one(float(c[k]), float(f0[k]), frames, grid, advance=advance, device=device)

        return Subject(row, call)

    speeds, strengths = torch.as_tensor(c), torch.as_tensor(f0)
    out = torch.empty(sequences, frames, grid, grid, device=device)

    def call() -> None:
        simulate(speeds, strengths, frames=frames, grid=grid, dt=1e-3, device=device, out=out)

    return Subject(row, call)


def wave_file(way: str, sequences: int, device: torch.device, folder: Path) -> Subject:
    """A file of sequences, simulated and on the disk of ``folder``; ``dd`` writes as many zeros there.

    Args:
        way: dd, ``fastsep``, or ``fastsep pt`` for the authors' layout.
    """
    settings = WaveSettings(size=sequences)
    size = sequences * settings.sequence_bytes
    row = Row(
        "wave_file", way, device.type, "fp32", {"sequences": sequences}, items=sequences, bytes=size,
        info={"frames": settings.frames, "grid": settings.grid},
    )  # fmt: skip
    if way == "dd":
        options = [f"of={folder / 'zeros'}", "if=/dev/zero", "bs=1M", "iflag=count_bytes", f"count={size}"]
        return Subject(row, lambda: subprocess.run(["dd", *options, "conv=fsync", "status=none"], check=True))
    return Subject(row, lambda: generate_file(folder, settings, device, "pt" if way.endswith("pt") else "hdf5"))


def metrics(way: str, batch: int, frames: int, device: torch.device) -> Subject:
    """MSE, PSNR and SSIM of ``batch`` forecasts of ``frames`` frames of 64x64."""
    generator = torch.Generator(device).manual_seed(1)
    forecast = torch.rand(batch, frames, 1, 64, 64, device=device, generator=generator)
    truth = torch.rand(batch, frames, 1, 64, 64, device=device, generator=generator)

    score = torch.compile(score_frame) if "compiled" in way else score_frame

    def naive(forecast: Tensor, truth: Tensor) -> None:
        score_frames(forecast, truth, score)

    def fast(forecast: Tensor, truth: Tensor) -> None:
        scores.mse(forecast, truth)
        scores.psnr(forecast, truth)
        scores.ssim(forecast, truth)

    run = naive if way.startswith("reference") else fast
    row = Row(
        "metrics", way, device.type, "fp32", {"batch": batch, "frames": frames}, items=batch * frames,
        bytes=forecast.nbytes + truth.nbytes,
    )  # fmt: skip
    return Subject(row, lambda: run(forecast, truth))


def data(name: str, way: str, batch: int, device: torch.device) -> Subject:
    """A training batch on the device: items collected one by one on the host, or one gather on the device."""
    config = PRESETS[name]()
    naive = way.startswith("reference")
    if name == "mnist":
        make = _mnist_batch(naive, batch, config.window, device)
    else:
        host = torch.device("cpu") if naive else device
        windows = made_windows(config, host, sequences=32)
        index = torch.randint(len(windows), (batch,), device=host)

        def make() -> Tensor:
            if naive:
                return reference_data.collect(windows.frames, windows.starts, index, windows.length).to(device)
            return windows.batch(index)

    frame = torch.Size(config.model.shape).numel()
    row = Row(
        f"data/{name}", way, device.type, "fp32", {"batch": batch}, items=batch,
        bytes=2 * 4 * batch * config.window * frame,
    )  # fmt: skip
    return Subject(row, make)


def _mnist_batch(naive: bool, batch: int, length: int, device: torch.device) -> Callable[[], Tensor]:
    """Moving MNIST of the bundled digits: bounced frame by frame, or the product's closed form."""
    config = MovingMNIST(digits="sklearn")
    if naive:
        digits, rng = single_digits(config, "train"), np.random.RandomState(1)

        def make() -> Tensor:
            videos = [torch.as_tensor(reference_data.bounce(digits, rng, length)) for _ in range(batch)]
            return torch.stack(videos).to(device)

        return make
    windows, index = config.open("train", 5, length - 5, device), torch.zeros(batch, dtype=torch.int64, device=device)
    return lambda: windows.batch(index)
