"""Data sets: their settings in ``settings``, one module each that opens them."""

from fastsep.data.base import DataConfig
from fastsep.data.settings import DATASETS

__all__ = ["DATASETS", "DataConfig"]
