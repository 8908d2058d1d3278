"""Every way to roll out as a candidate to choose from. Letters as in reference.py."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from kernels.choose import Task
from kernels.latent_rollout import cluster, configs
from kernels.latent_rollout.backends import CLUSTER_ROWS
from kernels.latent_rollout.op import rollout
from kernels.latent_rollout.reference import weight_shapes
from kernels.latent_rollout.settle import DIRECTIONS


def make_task(
    direction: str,
    device: torch.device,
    batch: int,
    steps: int,
    latent: int,
    width: int,
    blocks: int,
    dtype: torch.dtype,
) -> Task:
    """A rollout with float32 weights, as in training, that stays finite for any number of steps; with its gradients
    where ``direction`` says so. Plain products, which verify the others, come first."""
    generator = torch.Generator(device).manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    weights = [
        random(*shape).mul_(0.3 / shape[-1] ** 0.5) for _ in range(blocks) for shape in weight_shapes(latent, width)
    ]
    t0, grad = random(batch, latent), random(steps, batch, latent)
    gradients = direction == DIRECTIONS[True]
    leaves = [tensor.requires_grad_(gradients) for tensor in (t0, *weights)]

    def run(backend: str, compute: torch.dtype) -> list[Tensor]:
        out = rollout(t0, weights, steps, dtype=compute, backend=backend)
        if not gradients:
            return [out]
        return [out.detach(), *torch.autograd.grad(out, leaves, grad.to(out.dtype))]

    calls = {name: partial(run, name, dtype) for name in names(batch, latent, width, blocks, dtype, device)}
    return Task(calls, partial(run, "adjoint", torch.float64))


def names(batch: int, latent: int, width: int, blocks: int, dtype: torch.dtype, device: torch.device) -> list[str]:
    """The backends worth comparing, the cluster kernel last: should it break the device, the others are known."""
    try:
        from kernels.latent_rollout import launch
    except ImportError:  # no Triton
        return ["adjoint"]
    problem = configs.Problem(batch, latent, width, blocks, dtype, False, *launch.limits(device))
    found = ["adjoint"]
    if configs.supported(problem) and problem.low_precision:
        found.append("streaming")
        if any(configs.stationary_takes(c, problem) for c in configs.CANDIDATES_STATIONARY):
            found.append("stationary")
        if device.type == "cuda" and cluster.takes(problem):
            found += CLUSTER_ROWS
    return found
