"""From tensors to a kernel launch. The only place that imports Triton, which a CPU install may lack."""

from __future__ import annotations

import os
from functools import lru_cache

import torch
import triton
from torch import Tensor

from kernels.latent_rollout import configs
from kernels.latent_rollout.configs import Problem, Stationary, Streaming
from kernels.latent_rollout.reference import Blocks, Hidden
from kernels.latent_rollout.stationary import stationary_kernel
from kernels.latent_rollout.streaming import streaming_kernel

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
SHARED_INTERPRETED = 227 * 1024  # what the interpreter is taken to have


@lru_cache
def device_limits(index: int) -> tuple[int, int]:
    """Multiprocessors of a GPU, and the bytes of shared memory one program may use."""
    properties = torch.cuda.get_device_properties(index)
    return properties.multi_processor_count, properties.shared_memory_per_block_optin


def describe(state: Tensor, blocks: Blocks, adjoint: bool) -> Problem:
    """The problem posed by a state (B, L) and its blocks on their device."""
    count, width, latent = blocks.w1.shape
    programs, shared = (1, SHARED_INTERPRETED) if state.device.type == "cpu" else device_limits(state.device.index or 0)
    return Problem(state.shape[0], latent, width, count, blocks.w1.dtype, adjoint, programs, shared)


def forward(t0: Tensor, blocks: Blocks, steps: int, config: Streaming | Stationary) -> Tensor:
    """Latents (S + 1, B, L), as :func:`kernels.latent_rollout.reference.trajectory`."""
    problem = describe(t0, blocks, adjoint=False)
    latents = torch.empty(((steps - 1) * problem.blocks + 1, *t0.shape), dtype=torch.float32, device=t0.device)
    tensors = (t0.float().contiguous(), latents, blocks.w1, blocks.w2, blocks.w3, blocks.b1, blocks.b2, blocks.b3)
    _launch(tensors, steps - 1, problem, config)
    return latents


def recursion(grad: Tensor, hidden: Hidden, blocks: Blocks, config: Streaming | Stationary) -> Tensor:
    """Adjoints (S + 1, B, L) from dLoss/dT (steps, B, L), as in :func:`kernels.latent_rollout.reference.recursion`."""
    problem = describe(grad[0], blocks, adjoint=True)
    steps = grad.shape[0]
    adjoints = torch.empty(((steps - 1) * problem.blocks + 1, *grad.shape[1:]), dtype=torch.float32, device=grad.device)
    grad = grad.float().contiguous()
    tensors = (grad, adjoints, blocks.w3, blocks.w2, blocks.w1, hidden.h2, hidden.h1, blocks.b3)
    _launch(tensors, steps - 1, problem, config)
    return adjoints


def constants(problem: Problem, config: Streaming | Stationary) -> tuple[dict[str, object], dict[str, object]]:
    """A kernel's compile-time arguments and its compile options."""
    shape = {"L": problem.latent, "LP": problem.latent_padded, "H": problem.width, "ADJOINT": problem.adjoint}
    shape["PRECISION"] = "ieee"  # of float32 products; others ignore it
    if isinstance(config, Streaming):
        tiles = {
            "BLOCK_B": config.block_b,
            "BLOCK_N": min(config.block_n, problem.width_padded),
            "BLOCK_K": min(config.block_k, problem.width_padded),
        }
        return shape | tiles, {"num_warps": config.warps, "num_stages": config.stages}
    slice_ = configs.slice_width(config, problem)
    hold = configs.holds_weights(config, problem)
    parts = configs.parts(config, problem)
    cut = {
        "R": problem.blocks,
        "BLOCK_B": configs.ROWS,
        "SLICES": problem.width_padded // slice_,
        "SLICE": slice_,
        "PARTS": parts,
        "PART": problem.width_padded // parts,
        "HOLD": hold,
        "AHEAD": problem.latent_padded <= 32 and (hold or (not problem.adjoint and config.warps <= 8)),  # more spills
    }
    return shape | cut, {"num_warps": config.warps, "num_stages": 1, "launch_cooperative_grid": True}


def _launch(tensors: tuple[Tensor, ...], transitions: int, problem: Problem, config: Streaming | Stationary) -> None:
    if problem.batch == 0:
        return
    device = tensors[0].device
    arguments, options = constants(problem, config)
    if INTERPRETED:
        options = {}
    sizes = (problem.batch, transitions)
    if isinstance(config, Streaming):
        kernel, grid = streaming_kernel, (triton.cdiv(problem.batch, config.block_b),)
        sizes += (problem.blocks,)
    else:
        groups, slices = configs.groups(problem), arguments["SLICES"]
        partials = (2, groups, slices, configs.ROWS * problem.latent_padded)
        tensors += (
            torch.empty(partials, dtype=torch.float32, device=device),
            torch.zeros(groups, dtype=torch.int32, device=device),
        )
        kernel, grid = stationary_kernel, (slices, groups)
    if device.type == "cpu":
        kernel[grid](*tensors, *sizes, **arguments, **options)
        return
    with torch.cuda.device(device):
        kernel[grid](*tensors, *sizes, **arguments, **options)
