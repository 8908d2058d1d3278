"""What the training loop draws."""

from __future__ import annotations

from fastsep.evaluation.strip import forecast_strip

__all__ = ["forecast_strip"]
