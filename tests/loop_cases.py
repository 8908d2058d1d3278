"""Short runs on a made data set of smooth pulses, and signals that come while they train."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass
from typing import ClassVar

import torch

from fastsep.config import Config, ModelConfig, ObjectiveConfig, OptimConfig, RunConfig
from fastsep.data import DATASETS
from fastsep.data.base import DataConfig
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.runs.checkpoint import load_model
from fastsep.training.step import TrainStep


@dataclass(frozen=True)
class Pulses(DataConfig):
    name: ClassVar[str] = "pulses"

    spoiled: bool = False
    image: bool = False

    def open(self, split, cond, pred, device, scaling=None, padding=None):
        time = torch.arange(30.0)
        phase = torch.linspace(0, 3, 6)[:, None, None] if split == "train" else torch.linspace(1, 2, 2)[:, None, None]
        place = torch.arange(9.0) / 9
        frames = 0.5 + 0.5 * torch.sin(2 * math.pi * (place + time[:, None] / 15) + phase)  # (N, T, 9)
        if self.spoiled:
            frames[0, 7] = math.nan
        if self.image:
            frames = frames.repeat(1, 1, 456)[..., : 64 * 64].unflatten(-1, (64, 64))
        length = cond + pred
        return TensorWindows(frames[:, :, None].to(device), all_starts(len(frames), 30, length), length)


def pulses_config(monkeypatch):
    """A short run on ``Pulses``, which becomes a known data set."""
    monkeypatch.setitem(DATASETS, "pulses", Pulses)
    return Config(
        data=Pulses(),
        model=ModelConfig(
            shape=(1, 9), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4, nt_cond=3, offset=3,
            enc_hidden_size=32, dec_hidden_size=32, res_hidden_size=32, gain_resnet=0.71,
        ),
        objective=ObjectiveConfig(nt_pred=4),
        optim=OptimConfig(batch_size=16, lr=3e-3, steps=40),
        run=RunConfig(precision="fp32", device="cpu", log_every=10, checkpoint_every=20),
    )  # fmt: skip


def weights_of(run):
    """The newest weights of a run by name."""
    return load_model(run)[0].state_dict()


def stop_at(monkeypatch, step, *signums):
    """Send the signals while a step runs, as a user or a batch system does."""
    original = TrainStep.__call__

    def interrupted(self, *args):
        interrupted.taken += 1
        if interrupted.taken == step:
            for signum in signums:
                signal.raise_signal(signum)
        original(self, *args)

    interrupted.taken = 0
    monkeypatch.setattr(TrainStep, "__call__", interrupted)
