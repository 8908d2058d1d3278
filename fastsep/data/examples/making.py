"""Writes an example: sequences are simulated on all cores and written in their order, in bounded memory.

Letters: N sequences, T frames of each, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path
from types import ModuleType

import numpy as np

from fastsep import __version__
from fastsep.data.disk_space import require_space
from fastsep.data.examples import layers, plume
from fastsep.data.formats.hdf5_stream import Rows, RowWriter, hdf5_stream
from fastsep.files import make_directory, require_suffix, write_problem
from fastsep.progress import progress_bar

EXAMPLES: dict[str, ModuleType] = {"plume": plume, "layers": layers}
"""Each has ``draw`` and ``simulate``, and says what its frames are."""
_WAITING = 2  # sequences a core that may be simulated and not yet written


def make(name: str, out: Path, size: int, frames: int, seed: int) -> str:
    """Write ``size`` sequences of ``frames`` frames to ``out``; returns what they are, in a line.

    The file is HDF5 and NetCDF-4 at once. A sequence depends on the seed and its number alone.

    Raises:
        UserError: the file cannot be written or the disk is full; what lay there is left as it was.
    """
    if out.suffix:
        require_suffix(out, (".nc", ".h5", ".hdf5"))
    example = EXAMPLES[name]
    shape = (size, frames, *(example.SHAPE if example.SHAPE[0] > 1 else example.SHAPE[1:]))
    try:
        require_space(out.parent, 4 * math.prod(shape) + 4096 * (size + 8))
        parameters = np.stack([example.draw(np.random.default_rng([seed, number])) for number in range(size)])
        make_directory(out.parent)
        with (
            _written(name, example, out, shape, seed, parameters) as file,
            closing(_simulated(example, parameters, (frames, *example.SHAPE))) as sequences,
            progress_bar(total=size, unit="sequence") as bar,
        ):
            for sequence in sequences:
                file.write(sequence.reshape(1, *shape[1:]))
                bar.update()
    except OSError as error:
        raise write_problem(out, error, "choose another --out") from None
    return f"{out}: {size} sequences of {frames} frames, {'x'.join(map(str, example.SHAPE))}; {example.DESCRIPTION}"


def _simulated(example: ModuleType, parameters: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Sequences (T, C, H, W) float32, in order."""

    stop = np.zeros(1, np.uint8)  # which machine code can look at, too

    def simulate(one: np.ndarray) -> np.ndarray:
        out = np.empty(shape, np.float32)
        example.simulate(one, out, stop)
        return out

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(cores)
    pending: deque = deque()
    try:
        for one in parameters:
            pending.append(pool.submit(simulate, one))
            if len(pending) > _WAITING * cores:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stop[0] = 1
        pool.shutdown(cancel_futures=True)


def _written(
    name: str, example: ModuleType, out: Path, shape: tuple[int, ...], seed: int, parameters: np.ndarray
) -> AbstractContextManager[RowWriter]:
    """The open file, see ``hdf5_stream``."""
    size, frames, *channels, height, width = shape
    coordinates = {"sequence": np.arange(size), "time": np.arange(frames) * example.FRAME_SECONDS}
    if channels:
        coordinates["channel"] = np.arange(*channels)
    coordinates |= {"y": (np.arange(height) + 0.5) * example.CELL, "x": (np.arange(width) + 0.5) * example.CELL}
    variable = example.VARIABLE
    notes = {"time": {"units": "s"}, "y": {"units": "m"}, "x": {"units": "m"}}
    notes[variable] = {"units": example.UNITS, "long_name": example.MEANING}
    attributes = {"title": example.DESCRIPTION, "example": name, "seed": seed, "fastsep_version": __version__}
    axes = {variable: tuple(coordinates), f"{variable}_crc32": ("sequence",), "parameters": ("sequence", "parameter")}
    arrays = {**coordinates, "parameter": np.arange(parameters.shape[1]), "parameters": parameters}
    return hdf5_stream(out, attributes, arrays, variable, Rows(shape, np.dtype(np.float32)), axes, notes)
