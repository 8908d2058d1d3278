"""Data sets, a folder each: its settings, its reader, and what prepares or draws it.

A new one is a folder and a line in ``DATASETS``: scores and pictures of any frames follow. Where it wants its own,
there are ``fastsep/presets.py``, ``evaluation/protocols.py`` and ``drawing/gallery.py``. Settings are read without
PyTorch, so that --help is there at once; the reader that they name is imported when the data set is opened.
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
