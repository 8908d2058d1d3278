"""Networks that a machine has no room for, told before they are made; and how many frames they decode at once."""

from __future__ import annotations

import math

import torch

from fastsep.data.residency import free_bytes, require_memory
from fastsep.model import SeparableModel
from fastsep.model_config import ModelConfig
from fastsep.network_kinds import kind_of

FORECASTING, TRAINING = 1, 4
"""Numbers that are kept for each weight: itself; with its gradient and Adam's two moments, at least."""
_NARROWER = (
    "lower the widths (--enc-hidden-size, --dec-hidden-size, --sst-filters, --res-hidden-size) or the numbers of layers"
)

# Decoded frames held at once: a convolutional decoder keeps up to 1 MB of features a frame of 64x64 pixels.
_FRAMES = 8192
_FRAMES_CONVOLUTIONAL = {"cpu": 1024, "cuda": 8192}
_BYTES, _BYTES_CONVOLUTIONAL = 1 << 16, 1 << 20
_NUMBERS = 64 * 64  # of a frame that these are for
_SHARE = 0.25  # of the free memory


def require_room(config: ModelConfig, device: torch.device, copies: int = FORECASTING) -> None:
    """Raise ``UserError`` unless ``device`` has room for the networks; without making them, which might be fatal."""
    with torch.device("meta"):
        model = SeparableModel(config)
    weights = sum(weight.numel() for weight in model.parameters())
    remedy = _NARROWER if copies >= TRAINING else "free some, or use a machine with more"
    what = f"{'training' if copies >= TRAINING else 'a model of'} {weights / 1e6:,.1f} million weights"
    require_memory(weights * 4 * copies, what, remedy, device)


def frames_at_once(config: ModelConfig, device: torch.device) -> int:
    """Frames whose decoding fits memory comfortably, at least 1."""
    convolutional = kind_of(config.decoder).convolutional
    frames = _FRAMES_CONVOLUTIONAL.get(device.type, 1024) if convolutional else _FRAMES
    larger = max(1.0, math.prod(config.shape) / _NUMBERS)
    size = larger * (_BYTES_CONVOLUTIONAL if convolutional else _BYTES)
    return max(1, min(int(frames / larger), int(_SHARE * free_bytes(device) / size)))
