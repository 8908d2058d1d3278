"""The frame that always answers the mean of the training part: what a forecast has to beat at long horizons."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fastsep.data.frames.kept import Kept
from fastsep.data.frames.opening import open_source
from fastsep.data.frames.settings import Frames
from fastsep.data.frames.splits import part_of
from fastsep.data.frames.statistics import Statistics
from fastsep.data.scaling import Scaling

_MOST = 1024
"""Frames that the mean is taken of, spread evenly: reading takes a bounded time, and more would hardly change it."""


def mean_frame(config: Frames, scaling: Scaling) -> Tensor:
    """The mean of up to 1,024 training frames as a model sees it: (C, *padded); 0 where none of them has a value.

    Raises:
        UserError: the data cannot be read.
    """
    source = open_source(config.data, config.variable, config.layout)
    try:
        kept = Kept(source, config.every)
        part = part_of("train", config, kept.sequences, kept.frames)
        total = len(part.sequences) * len(part.frames)
        statistics = Statistics(kept.shape)
        for number in np.unique(np.arange(min(total, _MOST)) * total // min(total, _MOST)).tolist():
            row, frame = divmod(number, len(part.frames))
            statistics.add(kept.read(part.sequences[row], part.frames[frame], 1))
    finally:
        source.close()
    return torch.from_numpy(scaling.scale(statistics.mean().astype(np.float32))).nan_to_num(0.0)
