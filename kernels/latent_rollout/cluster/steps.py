"""How far the kernel's results are from their definition, one block-step at a time, in float64.

Each step starts from the kernel's own numbers, so errors do not add up and a wrong phase shows as itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.latent_rollout.reference import Blocks, Kept

TOLERANCE = {"h1": 1e-3, "h2": 1e-3, "latents": 1e-5, "dz2": 1e-3, "dz1": 1e-3, "adjoints": 1e-5}
"""Relative, of the worst block-step. Hidden layers differ where a rounding to the operand type falls the other way,
which is rare; the state is float32."""


def example(
    latent: int, width: int, blocks: int, batch: int, steps: int, dtype: torch.dtype, device: str = "cpu", seed: int = 0
) -> tuple[Tensor, Tensor, Blocks]:
    """T_0 (B, L), dLoss/dT (steps, B, L) and weights under which a rollout of any length stays finite."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    w1 = normal(blocks, width, latent, scale=latent**-0.5)
    w2 = normal(blocks, width, width, scale=(2 / width) ** 0.5)
    w3 = normal(blocks, latent, width, scale=0.3 * width**-0.5)
    b1, b2, b3 = normal(blocks, width, scale=0.1), normal(blocks, width, scale=0.1), normal(blocks, latent, scale=0.05)
    t0, grad = normal(batch, latent), normal(steps, batch, latent)
    stacked = Blocks(*(w.to(device, dtype) for w in (w1, b1, w2, b2, w3)), b3.to(device))
    return t0.to(device), grad.to(device), stacked


def distance(found: Tensor, wanted: Tensor) -> float:
    """Relative, in the Euclidean norm; infinite where anything is NaN."""
    ratio = ((found.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-30)).item()
    return ratio if ratio == ratio else float("inf")


def forward_errors(t0: Tensor, blocks: Blocks, latents: Tensor, kept: Kept) -> dict[str, float]:
    """Largest relative error of a block-step for ``h1``, ``h2`` and ``latents``."""
    worst = dict.fromkeys(("h1", "h2", "latents"), 0.0)
    count, batch = blocks.w1.shape[0], t0.shape[0]
    w1, b1, w2, b2, w3, b3 = (w.double() for w in blocks)
    worst["latents"] = distance(latents[0], t0)
    for i in range(latents.shape[0] - 1):
        n, k = divmod(i, count)
        h1, h2 = (h[k].view(-1, batch, h.shape[-1])[n] for h in (kept.h1, kept.h2))  # (B, H)
        state = latents[i].to(h1.dtype).double()
        wanted = {
            "h1": (state @ w1[k].T + b1[k]).relu().to(h1.dtype),
            "h2": (h1.double() @ w2[k].T + b2[k]).relu().to(h2.dtype),
            "latents": latents[i].double() + h2.double() @ w3[k].T + b3[k],
        }
        for name, found in (("h1", h1), ("h2", h2), ("latents", latents[i + 1])):
            worst[name] = max(worst[name], distance(found, wanted[name]))
    return worst


def adjoint_errors(
    grad: Tensor, blocks: Blocks, kept: Kept, adjoints: Tensor, dz1: Tensor, dz2: Tensor
) -> dict[str, float]:
    """Largest relative error of a block-step for ``dz2``, ``dz1`` and ``adjoints``."""
    worst = dict.fromkeys(("dz2", "dz1", "adjoints"), 0.0)
    count, batch = blocks.w1.shape[0], grad.shape[1]
    w1, w2, w3 = (w.double() for w in (blocks.w1, blocks.w2, blocks.w3))
    worst["adjoints"] = distance(adjoints[-1], grad[-1])
    for i in range(adjoints.shape[0] - 1):
        n, k = divmod(i, count)
        h1, h2, z1, z2 = (h[k].view(-1, batch, h.shape[-1])[n] for h in (kept.h1, kept.h2, dz1, dz2))  # (B, H)
        after = adjoints[i + 1]
        entering = grad[n].double() if k == 0 else 0
        wanted = {
            "dz2": (after.to(z2.dtype).double() @ w3[k]).to(z2.dtype) * (h2 > 0),
            "dz1": (z2.double() @ w2[k]).to(z1.dtype) * (h1 > 0),
            "adjoints": after.double() + z1.double() @ w1[k] + entering,
        }
        for name, found in (("dz2", z2), ("dz1", z1), ("adjoints", adjoints[i])):
            worst[name] = max(worst[name], distance(found, wanted[name]))
    return worst


def wrong(errors: dict[str, float]) -> list[str]:
    """What is beyond its tolerance."""
    return [f"{name} {error:.1e}" for name, error in errors.items() if not error <= TOLERANCE[name]]
