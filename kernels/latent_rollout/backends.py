"""Who runs a rollout, both ways: plain products, a Triton kernel, or the cluster kernel.

Letters as in reference.py; M = N·B rows of a block, transitions outermost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.gpu import require_gpu
from kernels.latent_rollout import cluster, reference
from kernels.latent_rollout.cluster import ClusterError
from kernels.latent_rollout.cluster.launch import signs_shape as cluster_signs_shape
from kernels.latent_rollout.configs import Stationary, Streaming, choose, gradient_tile
from kernels.latent_rollout.reference import Blocks, Kept

TRITON = ("streaming", "stationary")
CLUSTER_ROWS = {"cluster8": 8, "cluster16": 16}
"""Rows that a cluster shares."""
_COUNTED = 2**31
"""The kernel of the weight gradients counts what it reads of a block in 32 bits."""


def signs_shape(backend: str, block_steps: int, batch: int) -> tuple[int, ...]:
    """Shape of :attr:`Kept.signs`."""
    rows = CLUSTER_ROWS.get(backend)
    return (0,) if rows is None else cluster_signs_shape(block_steps, batch, rows)


def forward(t0: Tensor, blocks: Blocks, steps: int, backend: str, keep: bool) -> tuple[Tensor, Kept]:
    """Latents (S + 1, B, L), and what ``keep`` asks for.

    Raises:
        ValueError: ``backend`` names a kernel that is not to be had.
    """
    config = _configuration(t0, blocks, backend, adjoint=False)
    nothing = Kept(*reference.empty_hidden(t0, blocks, 1), torch.empty(0, dtype=torch.uint8, device=t0.device))
    if backend in CLUSTER_ROWS:
        if t0.device.type == "cpu":
            raise ValueError(f"backend {backend!r} needs a GPU")
        if not cluster.takes(_launch().describe(t0, blocks, adjoint=False)):
            raise _no_kernel("cluster", blocks)
        try:
            latents, kept = cluster.forward(t0, blocks, steps, keep, CLUSTER_ROWS[backend])
        except ClusterError as error:
            raise ValueError(f"backend {backend!r}: {error}") from error
        return latents, nothing if kept is None else kept
    if config is None:
        h1, h2 = reference.empty_hidden(t0, blocks, steps if keep else 1)
        return reference.trajectory(t0, blocks, steps, (h1, h2) if keep else None), Kept(h1, h2, nothing.signs)
    latents, h1, h2 = _launch().forward(t0, blocks, steps, config, keep)
    return latents, Kept(h1, h2, nothing.signs) if keep else nothing


def backward(
    latents: Tensor, kept: Kept, grad: Tensor, blocks: Blocks, backend: str, dtype: torch.dtype
) -> tuple[Tensor, Blocks]:
    """Adjoints (S + 1, B, L), the first of them dLoss/dT_0, and the gradients of all weights, stacked.

    Args:
        grad: (steps, B, L) in the state's dtype.
        dtype: of the gradients, a wish; plain products leave them in the state's or the compute dtype.
    """
    config = _configuration(latents[0], blocks, backend, adjoint=True)
    h1, h2 = kept.h1, kept.h2
    if backend in CLUSTER_ROWS:
        adjoints, dz1, dz2 = cluster.recursion(grad, kept, blocks, CLUSTER_ROWS[backend])
    elif config is None:
        return reference.adjoint(latents, grad, blocks, (h1, h2))
    else:
        adjoints, dz1, dz2 = _launch().recursion(grad, h1, h2, blocks, config)
    tile = gradient_tile(_launch().describe(latents[0], blocks, adjoint=True))
    if tile is None or max(h1[0].numel(), latents.numel()) >= _COUNTED:
        hidden = reference.hidden_states(latents, blocks, (h1, h2))
        return adjoints, reference.weight_gradients(adjoints, hidden, dz1, dz2)
    return adjoints, _launch().weight_gradients(latents, adjoints, h1, h2, dz1, dz2, dtype, tile)


def _launch():
    """Triton is imported where a kernel is wanted: a CPU install has none."""
    from kernels.latent_rollout import launch

    return launch


def _configuration(state: Tensor, blocks: Blocks, backend: str, adjoint: bool) -> Streaming | Stationary | None:
    """The Triton kernel to launch; None for plain products and for the cluster kernel."""
    if backend in ("adjoint", *CLUSTER_ROWS) or (backend == "auto" and state.device.type == "cpu"):
        return None
    try:
        launch = _launch()
    except ImportError as error:
        if backend == "auto":
            return None
        raise ValueError(f"backend {backend!r} needs Triton: install it, or ask for 'adjoint'") from error
    require_gpu(state, f"backend {backend!r}")
    kind = backend
    if backend == "triton":  # any kernel, even where plain products are faster
        kind = "streaming" if blocks.w1.dtype == torch.float32 else "auto"
    config = choose(launch.describe(state, blocks, adjoint), kind)
    if config is None and backend != "auto":
        raise _no_kernel("Triton", blocks)
    return config


def _no_kernel(kind: str, blocks: Blocks) -> ValueError:
    count, width, latent = blocks.w1.shape
    shape = f"L={latent}, H={width}, {count} blocks, {blocks.w1.dtype}"
    return ValueError(f"no {kind} kernel takes {shape}: ask for backend 'adjoint'")
