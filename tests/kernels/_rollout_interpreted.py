"""Run by test_latent_rollout_interpreter.py in a process of its own: Triton reads TRITON_INTERPRET when it is imported.

Compares both kernels, forward and all gradients, with the reference, and prints one line per case.
"""

from __future__ import annotations

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from rollout_cases import make, relative

from kernels.latent_rollout import configs, launch, op, reference, rollout

KERNELS = {
    "streaming": configs.Streaming(block_b=16, block_n=32, block_k=16, warps=4, stages=2),
    "stationary": configs.Stationary(slices=1, warps=4),
    "stationary-two-warps": configs.Stationary(slices=1, warps=2),
}
SHAPES = [  # B, L, H, blocks, steps
    (1, 20, 64, 1, 1),
    (5, 20, 64, 3, 3),
    (33, 32, 64, 1, 7),
    (1, 32, 80, 3, 2),
]
TOLERANCE = {torch.float32: 1e-6, torch.float16: 3e-3}


def poison() -> None:
    """Make every fresh tensor NaN, so that an element no program wrote shows."""
    empty = torch.empty

    def filled(*args, **kwargs):
        out = empty(*args, **kwargs)
        return out.fill_(float("nan")) if out.is_floating_point() else out.fill_(-1)

    torch.empty = filled


def compare(name: str, config, shape: tuple[int, ...], dtype: torch.dtype, shared: int) -> None:
    batch, latent, width, blocks, steps = shape
    t0, weights = make(batch, latent, width, blocks, torch.float32)
    t0, stacked = t0.detach(), reference.stack_blocks(weights, dtype)
    grad = torch.randn(steps, batch, latent, generator=torch.Generator().manual_seed(5))
    launch.SHARED_INTERPRETED = shared
    expected = reference.trajectory(t0, stacked, steps)
    latents = launch.forward(t0, stacked, steps, config)
    pairs = [(latents, expected)]
    # Both adjoints start from the same latents: only the recursion differs.
    pairs += zip(op.gradients(expected, grad, stacked, config), reference.adjoint(expected, grad, stacked), strict=True)
    errors = [relative(a, b) if b.norm() else a.norm().item() for a, b in pairs]
    assert all(error < TOLERANCE[dtype] for error in errors), f"{name} {shape} {dtype}: {errors}"  # NaN fails too
    print(f"{name:20} {shape} {dtype} {max(errors):.1e}")


def main() -> None:
    poison()
    for shape in SHAPES:
        for name, config in KERNELS.items():
            for dtype in (torch.float32, torch.float16):
                # With little shared memory the stationary kernel reads its weights again every turn.
                compare(name, config, shape, dtype, shared=(1 << 30) if dtype == torch.float16 else 0)
    compare("stationary", KERNELS["stationary"], (3, 40, 64, 4, 2), torch.float16, shared=1 << 30)

    t0, weights = make(5, 20, 64, 1, torch.float32)
    expected = rollout(t0, weights, 3, backend="autograd")
    for backend in ("streaming", "stationary"):
        out = rollout(t0, weights, 3, backend=backend)
        assert relative(out.detach(), expected.detach()) < 1e-6
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(out.sum(), [t0, *weights]))
    print("all agree")


if __name__ == "__main__":
    sys.exit(main())
