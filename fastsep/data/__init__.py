"""Data sets: one file each, a settings class with ``open(split, cond, pred, device)``."""

from fastsep.data.base import DataConfig
from fastsep.data.chairs import Chairs
from fastsep.data.mnist import MovingMNIST
from fastsep.data.sst import SST
from fastsep.data.taxibj import TaxiBJ
from fastsep.data.wave import Wave, Wave100

DATASETS: dict[str, type[DataConfig]] = {cls.name: cls for cls in (Wave, Wave100, MovingMNIST, SST, TaxiBJ, Chairs)}

__all__ = ["DATASETS", "DataConfig"]
