"""From tensors to a kernel launch. What needs Triton is imported through here: a CPU install may lack it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import triton
from torch import Tensor

from kernels.gpu import INTERPRETED
from kernels.latent_rollout import configs
from kernels.latent_rollout.configs import Problem, Stationary, Streaming
from kernels.latent_rollout.reference import Blocks, empty_hidden, hidden_states, weight_shapes
from kernels.latent_rollout.stationary import stationary_kernel
from kernels.latent_rollout.streaming import streaming_kernel
from kernels.latent_rollout.weight_gradients import products_kernel, sum_kernel
from kernels.latent_rollout.weight_gradients import tiles as gradient_tiles

SHARED_INTERPRETED = 227 * 1024  # what the interpreter is taken to have
GRADIENT_ROWS = 64
GRADIENT_OPTIONS = {"num_warps": 8, "num_stages": 3}
"""How the products of the weight gradients are cut: rows at a time; the tile is configs.gradient_tile."""


@lru_cache
def device_limits(index: int) -> tuple[int, int]:
    """Multiprocessors of a GPU, and the bytes of shared memory one program may use."""
    properties = torch.cuda.get_device_properties(index)
    return properties.multi_processor_count, properties.shared_memory_per_block_optin


def describe(state: Tensor, blocks: Blocks, adjoint: bool) -> Problem:
    """The problem posed by a state (B, L) and its blocks on their device."""
    count, width, latent = blocks.w1.shape
    return Problem(state.shape[0], latent, width, count, blocks.w1.dtype, adjoint, *limits(state.device))


def forward(
    t0: Tensor, blocks: Blocks, steps: int, config: Streaming | Stationary, keep: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Latents (S + 1, B, L), as :func:`kernels.latent_rollout.reference.trajectory`; with ``keep`` the hidden
    activations (R, M, H), rebuilt by plain products where the kernel cannot leave them."""
    problem = describe(t0, blocks, adjoint=False)
    latents = torch.empty(((steps - 1) * problem.blocks + 1, *t0.shape), dtype=torch.float32, device=t0.device)
    leaves = keep and configs.leaves_hidden(config, problem)
    hidden = empty_hidden(t0, blocks, steps) if leaves else (latents, latents)  # the kernel ignores the latter
    tensors = (t0.float().contiguous(), latents, blocks.w1, blocks.w2, blocks.w3, blocks.b1, blocks.b2, blocks.b3)
    _launch((*tensors, *hidden), steps - 1, problem, config, leaves)
    if not keep:
        return latents, None, None
    return latents, *(hidden if leaves else hidden_states(latents, blocks)[1:])


def recursion(
    grad: Tensor, h1: Tensor, h2: Tensor, blocks: Blocks, config: Streaming | Stationary
) -> tuple[Tensor, Tensor, Tensor]:
    """Adjoints (S + 1, B, L), dz1 and dz2 (R, M, H) from dLoss/dT (steps, B, L), as in
    :func:`kernels.latent_rollout.reference.recursion`."""
    problem = describe(grad[0], blocks, adjoint=True)
    steps = grad.shape[0]
    adjoints = torch.empty(((steps - 1) * problem.blocks + 1, *grad.shape[1:]), dtype=torch.float32, device=grad.device)
    dz1, dz2 = torch.empty_like(h1), torch.empty_like(h2)
    grad = grad.float().contiguous()
    tensors = (grad, adjoints, blocks.w3, blocks.w2, blocks.w1, h2, h1, blocks.b3, dz2, dz1)
    _launch(tensors, steps - 1, problem, config, keep=True)
    return adjoints, dz1, dz2


def weight_gradients(
    latents: Tensor, adjoints: Tensor, h1: Tensor, h2: Tensor, dz1: Tensor, dz2: Tensor, dtype: torch.dtype, tile: int
) -> Blocks:
    """Gradients of all weights in ``dtype``, as :func:`kernels.latent_rollout.reference.weight_gradients`."""
    (count, rows, width), (_, batch, latent) = h1.shape, latents.shape
    padded, tiles = max(16, configs.power_of_two(latent)), gradient_tiles(width, tile)
    programs, _ = limits(latents.device)
    splits = configs.gradient_splits(programs, rows, tiles * count)
    share = triton.cdiv(triton.cdiv(rows, splits), GRADIENT_ROWS) * GRADIENT_ROWS
    size = width * width + 2 * width * padded + 3 * width
    sums = torch.empty((splits, count, size), dtype=torch.float32, device=latents.device)
    shapes = weight_shapes(latent, width)
    out = Blocks(*(torch.empty((count, *shape), dtype=dtype, device=latents.device) for shape in shapes))
    with _on(latents.device):
        products_kernel[(tiles, count, splits)](
            latents, adjoints, h1, h2, dz1, dz2, sums, batch, rows, share,
            **gradient_constants(latent, width, count, tile), **({} if INTERPRETED else GRADIENT_OPTIONS),
        )  # fmt: skip
        block = 1024
        sum_kernel[(triton.cdiv(size, block), count)](sums, *out, latent, padded, width, count, splits, block)
    return out


def gradient_constants(latent: int, width: int, blocks: int, tile: int) -> dict[str, int]:
    """Compile-time arguments of ``products_kernel``."""
    padded = max(16, configs.power_of_two(latent))
    return {"L": latent, "LP": padded, "H": width, "R": blocks, "BM": tile, "BK": GRADIENT_ROWS}


def constants(
    problem: Problem, config: Streaming | Stationary, keep: bool
) -> tuple[dict[str, object], dict[str, object]]:
    """A kernel's compile-time arguments and its compile options."""
    shape = {
        "L": problem.latent,
        "LP": problem.latent_padded,
        "H": problem.width,
        "KEEP": keep,
        "ADJOINT": problem.adjoint,
    }
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


def _launch(
    tensors: tuple[Tensor, ...], transitions: int, problem: Problem, config: Streaming | Stationary, keep: bool
) -> None:
    if problem.batch == 0:
        return
    device = tensors[0].device
    arguments, options = constants(problem, config, keep)
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
    with _on(device):
        kernel[grid](*tensors, *sizes, **arguments, **options)


def _on(device: torch.device) -> AbstractContextManager:
    return nullcontext() if device.type == "cpu" else torch.cuda.device(device)


def limits(device: torch.device) -> tuple[int, int]:
    """Multiprocessors of a device, and the bytes of shared memory one program may use."""
    return (1, SHARED_INTERPRETED) if device.type == "cpu" else device_limits(device.index or 0)
