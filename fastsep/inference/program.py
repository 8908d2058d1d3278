"""A run as a program of its own: one graph of plain ATen operations that needs nothing of this project.

Letters: B sequences, n conditioning frames, h forecast horizon, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fastsep import __version__
from fastsep.inference.forecaster import Forecaster

INPUT, OUTPUT = "frames", "forecast"
"""Names of what goes in and what comes out."""
BACKWARDS = "newest first"
"""What is said of the frames of a run that goes back in time."""
_BATCH = 2  # of the sequences that are traced; any number runs


class Program(nn.Module):
    """The last n frames (B, n, C, *space) to the ``horizon`` frames after, (B, h, C, *space), in the data's units."""

    def __init__(self, forecaster: Forecaster, horizon: int):
        super().__init__()
        self.model = forecaster.model
        self.scaling = forecaster.scaling
        self.horizon = horizon

    def forward(self, frames: Tensor) -> Tensor:
        return self.scaling.unscale(self.model.forecast(self.scaling.scale(frames), self.horizon))


def trace(forecaster: Forecaster, horizon: int) -> ExportedProgram:
    """The program of a forecaster on the CPU, for any number of sequences."""
    frames = example(forecaster, _BATCH)
    with torch.no_grad(), quiet():
        program = torch.export.export(
            Program(forecaster, horizon).eval(), (frames,), dynamic_shapes=({0: Dim("sequences")},)
        )
        return _bare(program.run_decompositions({}))  # nothing in place, no regions of autocast


def _bare(program: ExportedProgram) -> ExportedProgram:
    """Without the checks that every conversion leaves behind, which hold for the machine that exports alone."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    program.graph_module.recompile()
    return program


def example(forecaster: Forecaster, sequences: int) -> Tensor:
    """Frames (sequences, n, C, *space) that are neither constant nor alike, in the data's units."""
    shape = sequences, forecaster.nt_cond, *forecaster.scaling.shape
    scaled = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return forecaster.scaling.unscale(scaled)


def describe(forecaster: Forecaster, horizon: int) -> dict[str, Any]:
    """What goes into the file beside the program."""
    scaling, config = forecaster.scaling, forecaster.config
    return {
        "program": "fastsep",
        "version": __version__,
        "dataset": config.data.name,
        "step": forecaster.step,
        "frames": BACKWARDS if forecaster.backwards else "oldest first",
        "input": ["sequences", config.model.nt_cond, *forecaster.shape],
        "output": ["sequences", horizon, *forecaster.shape],
        "nt_cond": config.model.nt_cond,
        "horizon": horizon,
        "channels": list(scaling.names),
        "units": list(scaling.units),
    }


def as_texts(facts: dict[str, Any]) -> dict[str, str]:
    """Texts for formats that keep nothing else."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Without what PyTorch says to its own developers while it exports."""
    kept = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(kept)
