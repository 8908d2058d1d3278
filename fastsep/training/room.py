"""Networks that a machine has no room for, told before they are made."""

from __future__ import annotations

import torch

from fastsep.config import ModelConfig
from fastsep.data.residency import require_memory
from fastsep.model import SeparableModel

FORECASTING, TRAINING = 1, 4
"""Numbers that are kept for each weight: itself; with its gradient and Adam's two moments, at least."""
_NARROWER = "lower the widths (--enc-hidden-size, --dec-hidden-size, --res-hidden-size) or the numbers of layers"


def require_room(config: ModelConfig, device: torch.device, copies: int = FORECASTING) -> None:
    """Raise ``UserError`` unless ``device`` has room for the networks; without making them, which might be fatal."""
    with torch.device("meta"):
        model = SeparableModel(config)
    weights = sum(weight.numel() for weight in model.parameters())
    remedy = _NARROWER if copies >= TRAINING else "free some, or use a machine with more"
    what = f"{'training' if copies >= TRAINING else 'a model of'} {weights / 1e6:,.1f} million weights"
    require_memory(weights * 4 * copies, what, remedy, device)
