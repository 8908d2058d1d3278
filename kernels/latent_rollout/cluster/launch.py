"""From tensors to the cluster kernel.

Letters as in kernels/latent_rollout/reference.py; G clusters of ``rows`` rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.latent_rollout.cluster import driver
from kernels.latent_rollout.cluster.compiler import ClusterError
from kernels.latent_rollout.cluster.driver import Arguments
from kernels.latent_rollout.cluster.variant import PROGRAMS, Variant, supported
from kernels.latent_rollout.reference import Blocks, Kept

Runner = Callable[[Variant, int, int, Arguments], None]
"""What runs the kernel: :func:`driver.launch`, or the emulator in its place."""


def takes(problem) -> bool:
    """Whether the kernel takes this problem, a :class:`kernels.latent_rollout.configs.Problem`, given clusters."""
    return supported(problem.latent, problem.width, problem.blocks, problem.dtype, problem.shared)


def variant_of(blocks: Blocks, rows: int, adjoint: bool, save: bool) -> Variant:
    """The variant that rolls these blocks out."""
    count, width, latent = blocks.w1.shape
    return Variant(latent, width, count, rows, adjoint, save or adjoint, blocks.w1.dtype)


def resident_clusters(blocks: Blocks, rows: int = 16) -> int:
    """Clusters that are resident at once on the device of ``blocks``; 0 where the kernel cannot run.

    The first call compiles and loads, so it must not be made while a CUDA graph is captured.
    """
    try:
        return driver.load(variant_of(blocks, rows, False, True), blocks.w1.device.index or 0).clusters
    except ClusterError:
        return 0


def groups_of(batch: int, rows: int) -> int:
    """Clusters of a launch."""
    return -(-batch // rows)


def forward(
    t0: Tensor, blocks: Blocks, steps: int, keep: bool, rows: int, run: Runner = driver.launch
) -> tuple[Tensor, Kept | None]:
    """Latents (S + 1, B, L) float32, as :func:`kernels.latent_rollout.reference.trajectory`.

    Args:
        t0: (B, L) on a CUDA device.
        keep: also return what :func:`recursion` and the weight gradients need.
        rows: of a cluster, 8 or 16. The recursion must have the same.
        run: what runs the kernel.

    Raises:
        ClusterError: the kernel cannot run here, or is not loaded and a CUDA graph is being captured.
    """
    count, _, latent = blocks.w1.shape
    batch, transitions = t0.shape[0], steps - 1
    latents = torch.empty((transitions * count + 1, batch, latent), dtype=torch.float32, device=t0.device)
    kept = _room(blocks, batch, transitions, rows) if keep else None
    h1, h2, (signs1, signs2) = kept or (None, None, (None, None))
    tensors = {
        "start": t0.float().contiguous(), "states": latents,
        "w_lift": _aligned(blocks.w1), "w_mix": _aligned(blocks.w2), "w_drop": _aligned(blocks.w3),
        "b1": blocks.b1, "b2": blocks.b2, "b3": blocks.b3,
        "out_lift": h1, "out_mix": h2, "signs_lift": signs1, "signs_mix": signs2,
    }  # fmt: skip
    _run(run, variant_of(blocks, rows, False, keep), tensors, batch, transitions)
    return latents, kept


def recursion(
    grad: Tensor, kept: Kept, blocks: Blocks, rows: int, run: Runner = driver.launch
) -> tuple[Tensor, Tensor, Tensor]:
    """Adjoints (S + 1, B, L) float32, ``dz1`` and ``dz2`` (R, M, H), as
    :func:`kernels.latent_rollout.reference.recursion`.

    Args:
        grad: (steps, B, L) dLoss/dT of the rollout's output.
        kept: from :func:`forward`, with the same ``rows``.
        rows, run: as there.

    Raises:
        ClusterError: as there.
        ValueError: ``kept`` is of another number of rows.
    """
    count = blocks.w1.shape[0]
    steps, batch, latent = grad.shape
    transitions = steps - 1
    if kept.signs.shape != signs_shape(count * transitions, batch, rows):
        raise ValueError(f"signs of shape {tuple(kept.signs.shape)} are not those of clusters of {rows} rows")
    adjoints = torch.empty((transitions * count + 1, batch, latent), dtype=torch.float32, device=grad.device)
    dz1, dz2 = (torch.empty_like(h) for h in (kept.h1, kept.h2))
    tensors = {
        "start": grad.float().contiguous(), "states": adjoints,
        "w_lift": _transposed(blocks.w3), "w_mix": _transposed(blocks.w2), "w_drop": _transposed(blocks.w1),
        "out_lift": dz2, "out_mix": dz1, "signs_lift": kept.signs[0], "signs_mix": kept.signs[1],
    }  # fmt: skip
    _run(run, variant_of(blocks, rows, True, True), tensors, batch, transitions)
    return adjoints, dz1, dz2


def signs_shape(block_steps: int, batch: int, rows: int) -> tuple[int, ...]:
    """Of :attr:`Kept.signs`; the last axis but one is a warp's lanes."""
    return 2, block_steps, groups_of(batch, rows), PROGRAMS, 32, 8


def _room(blocks: Blocks, batch: int, transitions: int, rows: int) -> Kept:
    count, width, _ = blocks.w1.shape
    # Each with storage of its own: what an op returns must not share any.
    h1, h2 = (blocks.w1.new_empty((count, transitions * batch, width)) for _ in range(2))
    shape = signs_shape(count * transitions, batch, rows)
    return Kept(h1, h2, torch.empty(shape, dtype=torch.uint8, device=blocks.w1.device))


def _aligned(weight: Tensor) -> Tensor:
    """Contiguous, on an address that a 16-byte load takes: a parameter may be a view of something larger."""
    weight = weight.contiguous()
    return weight if weight.data_ptr() % 16 == 0 else weight.clone()


def _transposed(weight: Tensor) -> Tensor:
    return _aligned(weight.mT)


def _run(run: Runner, variant: Variant, tensors: dict[str, Tensor | None], batch: int, transitions: int) -> None:
    if batch == 0:
        return
    # Held by `tensors` until the launch; afterwards the allocator keeps their order on the stream.
    pointers = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
    device = tensors["states"].device.index or 0
    run(variant, device, groups_of(batch, variant.rows), Arguments(**pointers, batch=batch, transitions=transitions))
