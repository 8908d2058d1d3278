"""What ``auto`` means on a GPU: the choice that was made for the case on this machine, else the table's."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.choose import chosen
from kernels.constant import constant_result
from kernels.latent_rollout.backends import CLUSTER_ROWS
from kernels.latent_rollout.cluster import ClusterError, driver
from kernels.latent_rollout.cluster.variant import Variant
from kernels.latent_rollout.configs import supported_shape
from kernels.latent_rollout.reference import TENSORS_PER_BLOCK

OP = "latent_rollout"
DIRECTIONS = {False: "forward", True: "forward+backward"}


def settled(t0: Tensor, weights: Sequence[Tensor], steps: int, dtype: torch.dtype, gradients: bool) -> str:
    """The backend for one call on a GPU, ``auto`` (the table) where none was chosen."""
    width, latent = weights[0].shape
    blocks = len(weights) // TENSORS_PER_BLOCK
    if dtype.itemsize != 2 or not supported_shape(latent, width, blocks):
        return "auto"
    # The compiler takes a constant: a batch of unknown size is fixed here.
    batch, steps = operator.index(t0.shape[0]), operator.index(steps)
    return _settled(batch, steps, latent, width, blocks, dtype, gradients, t0.device.index or 0)


@constant_result
def _settled(
    batch: int, steps: int, latent: int, width: int, blocks: int, dtype: torch.dtype, gradients: bool, device: int
) -> str:
    name = chosen(
        OP, DIRECTIONS[gradients], batch=batch, steps=steps, latent=latent, width=width, blocks=blocks, dtype=dtype
    )
    if name in CLUSTER_ROWS:
        try:  # a choice may be older than this process, and nothing can be loaded while a graph is captured
            for adjoint in (False, True) if gradients else (False,):
                driver.load(Variant(latent, width, blocks, CLUSTER_ROWS[name], adjoint, gradients, dtype), device)
        except ClusterError as error:
            warnings.warn(f"the latent rollout runs without the kernel chosen for it: {error}", stacklevel=2)
            return "auto"
    return name or "auto"
