"""How much arithmetic and memory traffic a task needs, whoever does it.

FLOPs are counted on the naive reference with PyTorch's flop counter, on tensors without storage; work that fastsep
avoids still counts, so that a fraction of a ceiling compares equal tasks.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.reference.model import ReferenceModel, reference_objective
from fastsep.config import ModelConfig, ObjectiveConfig

ADAM_BYTES = 28
"""Least traffic of an Adam step for each float32 parameter: read p, g, m and v, write p, m and v."""


@lru_cache
def _meta_model(config: ModelConfig) -> ReferenceModel:
    return ReferenceModel(config).to("meta")


@lru_cache
def parameters(config: ModelConfig) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in _meta_model(config).parameters())


@lru_cache
def step_flops(config: ModelConfig, objective: ObjectiveConfig, batch: int) -> int:
    """Floating-point operations of the forward and backward pass of one training step."""
    model = _meta_model(config).train()
    video = torch.empty(batch, config.nt_cond + objective.nt_pred, *config.shape, device="meta")
    end = torch.empty((), dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        reference_objective(model, video, end, objective).total.backward()
    return counter.get_total_flops()


def step_bytes(config: ModelConfig, objective: ObjectiveConfig, batch: int) -> int:
    """Least memory traffic of a training step: Adam's state once through, and the batch read once."""
    frame = torch.Size(config.shape).numel()
    return ADAM_BYTES * parameters(config) + 4 * batch * (config.nt_cond + objective.nt_pred) * frame


@lru_cache
def forecast_flops(config: ModelConfig, batch: int, horizon: int) -> int:
    """Floating-point operations of a forecast; the conditioning frames that precede it are decoded too."""
    model = _meta_model(config).eval()
    cond = torch.empty(batch, config.nt_cond, *config.shape, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.forecast(cond, horizon)
    return counter.get_total_flops()


def rollout_flops(batch: int, size: int, hidden: int, blocks: int, steps: int, backward: bool) -> int:
    """Floating-point operations of ``steps - 1`` passes through the residual blocks; backward costs twice forward."""
    forward = 2 * batch * (2 * size * hidden + hidden * hidden) * blocks * (steps - 1)
    return 3 * forward if backward else forward


def rollout_bytes(batch: int, size: int, hidden: int, blocks: int, steps: int, backward: bool, width: int) -> int:
    """Least traffic of a rollout: weights once, trajectory once (twice and a gradient of each with backward)."""
    weights = width * blocks * (2 * size * hidden + hidden * hidden)
    trajectory = 4 * batch * size * steps
    return 3 * (weights + trajectory) if backward else weights + trajectory


@lru_cache
def decoder_flops(config: ModelConfig, frames: int) -> int:
    """Floating-point operations of decoding ``frames`` frames of a vector code."""
    model = _meta_model(config).train()
    mixed = config.code_size_t + (config.code_size_s if config.mixing == "concat" else 0)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.decoder(torch.empty(frames, mixed, device="meta"), [])
    return counter.get_total_flops()
