"""Data sets, a folder each: its settings, its reader, and what prepares or draws it.

A new one is a folder and its place in ``DATASETS``: preset, scores and pictures of any frames follow. What it wants
otherwise, its settings say (``DataConfig``): an appearance, what values its frames have, and a protocol, best in a
``protocol.py`` of its folder, with scores and baselines of its own; other numbers to train with are a function in
``fastsep/presets.py``. Settings are read without PyTorch, so that --help is there at once; reader and protocol are
imported by name when they are needed, so that data know nothing of evaluation.
"""

from fastsep.data.base import DataConfig
from fastsep.data.chairs.settings import Chairs
from fastsep.data.frames.settings import Frames
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.sst.settings import SST
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.data.wave.settings import Wave, Wave100

__all__ = ["DATASETS", "DataConfig"]

DATASETS: dict[str, type[DataConfig]] = {
    cls.name: cls for cls in (Wave, Wave100, MovingMNIST, SST, TaxiBJ, Chairs, Frames)
}
