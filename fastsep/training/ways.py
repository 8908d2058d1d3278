"""How a step runs: compiled, captured, with what the library times, with weights that stand ready as halves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

import kernels
from fastsep.config import Switch, Tune
from fastsep.errors import UserError
from fastsep.machine.compiler import check_compiler, has_compiler
from fastsep.world import ALONE, World


class Ways(NamedTuple):
    """How the step runs."""

    compile: bool
    capture: bool
    benchmark: bool = False
    """cuDNN times its algorithms instead of guessing; which one wins may differ from run to run."""


def resolve_ways(
    compile: Switch, capture: Switch, device: torch.device, tune: Tune = "off", world: World = ALONE
) -> Ways:
    """``auto`` compiles and captures on GPUs, where cuDNN times its algorithms unless ``tune`` is off.

    On a CPU compiling costs a minute and gains little. Without a compiler ``auto`` does not compile; where a graph
    cannot hold what the ranks of ``world`` tell each other it does not capture.

    Raises:
        UserError: capture asked for where it cannot be, or compiling where there is no compiler.
    """
    on_gpu = device.type == "cuda"
    if capture == "on" and not on_gpu:
        raise UserError("CUDA graphs need a GPU: use --capture auto or off, or --device cuda")
    if capture == "on" and not world.fits_graphs:
        raise UserError("CUDA graphs hold no messages of gloo: use --capture auto or off, or a PyTorch with NCCL")
    if compile == "on":
        check_compiler(device)
    compiles = compile == "on" or (compile == "auto" and on_gpu and has_compiler(device))
    captures = capture == "on" or (capture == "auto" and on_gpu and world.fits_graphs)
    return Ways(compiles, captures, benchmark=on_gpu and tune != "off")


def keeps_halves(device: torch.device, dtype: torch.dtype, world: World, micro_batches: int) -> bool:
    """Whether weights stand ready in ``dtype`` (see ``Halved``).

    On a GPU, where that saves a pass over the weights and one over the gradients; and where a gradient goes straight
    into Adam: sums over micro-batches or processes want float32, and a loss scale asks for whole gradients first.
    """
    alone = not world.joined and micro_batches == 1
    compiles = device.type == "cuda" and kernels.available() and has_compiler(device)
    return compiles and dtype == torch.bfloat16 and alone


@contextmanager
def cudnn_benchmark(on: bool) -> Iterator[None]:
    """Let cuDNN time its algorithms the first time it meets a shape, or leave the setting as it is."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
