"""Trained models at work: forecasts from any program, of whole files, and as programs of their own."""

from fastsep.inference.forecaster import Forecaster, load

__all__ = ["Forecaster", "load"]
