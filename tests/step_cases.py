"""Training steps of a tiny MLP model on random frames."""

from __future__ import annotations

import torch

from fastsep.config import Config, ModelConfig, ObjectiveConfig, OptimConfig
from fastsep.data.wave.settings import Wave100
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.model import SeparableModel
from fastsep.training.step import TrainStep
from fastsep.training.ways import Ways

CONFIG = Config(
    data=Wave100(),
    model=ModelConfig(
        shape=(1, 9), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4, nt_cond=2, offset=2,
        enc_hidden_size=8, dec_hidden_size=8, res_hidden_size=16,
    ),
    objective=ObjectiveConfig(nt_pred=3),
    optim=OptimConfig(batch_size=4, lr=1e-2),
)  # fmt: skip


EAGER = Ways(False, False)


def make_step(dtype=torch.float32, ways=EAGER, config=CONFIG, device="cpu", masked=False):
    torch.manual_seed(0)
    model = SeparableModel(config.model).to(device).lay_out()
    frames = torch.rand(3, 12, *config.model.shape).to(device)
    windows = TensorWindows(frames, all_starts(3, 12, config.window), config.window)
    if masked:
        windows.mask = torch.arange(config.model.shape[-1], device=device) % 3 > 0
        windows.frames *= windows.mask
    return TrainStep(model, windows, config, dtype, ways)
