"""Latent rollouts for tests: states and weights at any shape, and how far two results are apart."""

from __future__ import annotations

import torch


def make(batch, latent, width, blocks, dtype=torch.float64, seed=0):
    """A first state and the flat weights of all blocks, leaves that require gradients."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    weights = []
    for _ in range(blocks):
        for shape in ((width, latent), (width,), (width, width), (width,), (latent, width), (latent,)):
            weights.append(normal(*shape) * (0.7 / shape[-1] ** 0.5 if len(shape) == 2 else 0.1))
    t0 = normal(batch, latent)
    return t0.to(dtype).requires_grad_(), [w.to(dtype).requires_grad_() for w in weights]


def relative(a, b):
    """Relative distance in the Euclidean norm."""
    return ((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-30)).item()
