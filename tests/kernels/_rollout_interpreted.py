"""Run by test_latent_rollout_interpreter.py in a process of its own: Triton reads TRITON_INTERPRET when it is imported.

Compares the Triton kernels, forward and all gradients, with the reference, and prints one line per case. With ``--all``
also against autograd in float64, at odd shapes.
"""

from __future__ import annotations

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from rollout_cases import make, relative

from kernels.latent_rollout import configs, launch, reference, rollout

KERNELS = {
    "streaming": configs.Streaming(block_b=16, block_n=32, block_k=16, warps=4, stages=2),
    "stationary": configs.Stationary(slices=1, warps=4),
    "stationary-two-warps": configs.Stationary(slices=1, warps=2),
}
SHAPES = [  # B, L, H, blocks, steps
    (1, 20, 64, 1, 1),
    (5, 20, 64, 3, 3),
    (33, 32, 64, 1, 4),
    (1, 32, 80, 3, 2),
]
ODD_SHAPES = [(5, 10, 64, 4, 2), (13, 20, 256, 2, 3), (21, 64, 64, 3, 2), (13, 32, 512, 3, 2), (5, 64, 512, 1, 3)]
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
    hidden = reference.hidden_states(expected, stacked)
    latents, *layers = launch.forward(t0, stacked, steps, config, keep=True)
    pairs = [(latents, expected), *zip(layers, hidden[1:], strict=True)]
    # Both recursions start from the same hidden layers, and both weight gradients from the same recursion.
    recursion = reference.recursion(grad, hidden, stacked)
    pairs += zip(launch.recursion(grad, *hidden[1:], stacked, config), recursion, strict=True)
    if name == "stationary" and width % 64 == 0:
        pairs += gradients(expected, hidden, *recursion)
    errors = [relative(a, b) if b.norm() else a.norm().item() for a, b in pairs]
    assert all(error < TOLERANCE[dtype] for error in errors), f"{name} {shape} {dtype}: {errors}"  # NaN fails too
    print(f"{name:20} {shape} {dtype} {max(errors, default=0):.1e}")


def gradients(latents, hidden, adjoints, dz1, dz2):
    """By the kernel, and by plain products in float32, as the kernel accumulates."""
    found = launch.weight_gradients(latents, adjoints, *hidden[1:], dz1, dz2, torch.float32, tile=64)
    wide = reference.Hidden(*(h.float() for h in hidden))
    return zip(found, reference.weight_gradients(adjoints, wide, dz1.float(), dz2.float()), strict=True)


def compare_with_autograd(name: str, config, shape: tuple[int, ...]) -> None:
    """Kernels alone, in float32, against the definition in float64."""
    batch, latent, width, blocks, steps = shape
    t0, weights = make(batch, latent, width, blocks)
    grad = torch.randn(steps, batch, latent, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    out = rollout(t0, weights, steps, backend="autograd")
    exact = [out.detach(), *torch.autograd.grad(out, [t0, *weights], grad)]
    stacked = reference.stack_blocks(weights, torch.float32)
    latents, *hidden = launch.forward(t0.detach().float(), stacked, steps, config, keep=True)
    adjoints, *dz = launch.recursion(grad.float(), *hidden, stacked, config)
    stacks = launch.weight_gradients(latents, adjoints, *hidden, *dz, torch.float32, tile=64)
    found = [latents[::blocks], adjoints[0], *reference.unstack(stacks)]
    errors = [relative(a, b) for a, b in zip(found, exact, strict=True)]
    assert all(error < TOLERANCE[torch.float32] for error in errors), f"{name} {shape}: {errors}"
    print(f"{name:20} {shape} autograd in float64 {max(errors):.1e}")


def check_the_op() -> None:
    """From the public function to the kernels and back."""
    t0, weights = make(5, 20, 64, 2, torch.float32)
    results = []
    for backend in ("autograd", "streaming", "stationary"):
        out = rollout(t0, weights, 3, backend=backend)
        results.append([out.detach(), *torch.autograd.grad(out.square().sum(), [t0, *weights])])
    for found in results[1:]:
        assert all(relative(a, b) < TOLERANCE[torch.float32] for a, b in zip(found, results[0], strict=True))


def check_what_is_not_kept() -> None:
    """Without gradients nothing is kept, and the states are the same."""
    t0, weights = make(5, 20, 64, 2, torch.float32)
    for config in KERNELS.values():
        stacked = reference.stack_blocks(weights, torch.float32)
        kept, alone = (launch.forward(t0.detach(), stacked, 3, config, keep) for keep in (True, False))
        assert torch.equal(kept[0], alone[0]) and alone[1:] == (None, None)


def main() -> None:
    poison()
    for shape in SHAPES:
        for name, config in KERNELS.items():
            for dtype in (torch.float32, torch.float16):
                # With little shared memory the stationary kernel reads its weights again every turn.
                compare(name, config, shape, dtype, shared=(1 << 30) if dtype == torch.float16 else 0)
    compare("stationary", KERNELS["stationary"], (3, 40, 64, 4, 2), torch.float16, shared=1 << 30)
    check_what_is_not_kept()
    check_the_op()
    for shape in ((5, 20, 64, 1, 3), *(ODD_SHAPES if "--all" in sys.argv else ())):
        for name in ("streaming", "stationary"):
            compare_with_autograd(name, KERNELS[name], shape)
    print("all agree")


if __name__ == "__main__":
    sys.exit(main())
