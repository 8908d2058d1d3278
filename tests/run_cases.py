"""Small runs of every kind of network, with batch norms that all do something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from network_cases import CONFIGS
from torch import Tensor, nn

from fastsep.config import Config, ModelConfig
from fastsep.data.scaling import Scaling
from fastsep.data.wave.settings import Wave100
from fastsep.model import SeparableModel
from fastsep.runs.checkpoint import save_checkpoint
from fastsep.runs.directory import create_run

_SST = {"encoder": "sst", "decoder": "sst", "last_activation": "none", "nt_cond": 2, "offset": 0, "res_hidden_size": 8}
MODELS = {
    **CONFIGS,
    "sst": ModelConfig(**_SST, code_size_s=8, code_size_t=4),
    "sst_skip": ModelConfig(**_SST, code_size_s=8, code_size_t=4, skip=True),
    "no_s": ModelConfig(
        shape=(1, 10), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=6, code_size_t=6, no_s=True
    ),
}
"""Narrow models by name."""


def lively(config: ModelConfig) -> SeparableModel:
    """A model in evaluation mode whose layers all matter."""
    torch.manual_seed(0)
    model = SeparableModel(config)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_uniform_(module.weight)
            nn.init.uniform_(module.bias, 0.0, 0.3)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
            module.momentum = 0.5
    for parameter in model.integrator.parameters():
        parameter.data.mul_(0.3)
    with torch.no_grad():
        for _ in range(8 if config.encoder != "mlp" else 0):  # norms that fit what they normalise
            model.forecast(torch.rand(4, config.nt_cond, *config.shape), 2)
    return model.eval()


def apart(values: np.ndarray | Tensor, expected: np.ndarray | Tensor) -> float:
    """Their root mean square difference, relative to ``expected``; missing values must be the same."""
    values, expected = (torch.as_tensor(array).double().cpu() for array in (values, expected))
    assert values.shape == expected.shape and torch.equal(values.isnan(), expected.isnan())
    difference, size = (part.nan_to_num().square().mean().sqrt() for part in (values - expected, expected))
    return float(difference / size)


HOLES = Scaling(
    (4, 3), np.array([10.0, -2.0], np.float32), np.array([4.0, 0.5], np.float32), np.arange(12).reshape(4, 3) != 5,
    (0, 2), ("t", "s"), ("degC", "psu"),
)  # fmt: skip
"""Units, a cell that is missing, and padding."""
WITH_HOLES = ModelConfig(
    shape=(2, 4, 5), encoder="mlp", decoder="mlp", nt_cond=2, offset=2, last_activation="none", enc_hidden_size=8,
    dec_hidden_size=8,
)  # fmt: skip
"""A model for them."""


def lively_run(path: Path, config: ModelConfig, scaling: Scaling | None = None) -> Path:
    """A run directory of such a model."""
    create_run(path, Config(data=Wave100(), model=config))
    save_checkpoint(path, 7, lively(config))
    if scaling is not None:
        scaling.write(path)
    return path
