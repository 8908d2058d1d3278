"""The rollout's Triton kernels in the GPU suite: right, and microseconds a block-step; then whole rollouts by everyone.

``python -m bench.gpu_suite --only blockstep --out DIR`` takes about two minutes, compilation included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from bench import conv_parts
from bench.recorder import Recorder
from kernels.latent_rollout import reference
from kernels.latent_rollout.candidates import make_task
from kernels.latent_rollout.reference import unstack

MODELS = ((32, 3), (20, 1), (64, 1))  # latent size, blocks
BATCHES = (128, 16, 1, 120, 256, 1024)
WIDTH, STEPS, DTYPE = 512, 25, torch.bfloat16
KERNELS = ("stationary", "streaming")


def time_block_steps(recorder: Recorder) -> None:
    """Correctness of each kernel, its block-steps, and rollouts with their gradients."""
    for latent, blocks in MODELS:
        for kind in KERNELS:
            recorder.note(f"agree {name(latent, blocks, 128)} {kind}", partial(agree, recorder, latent, blocks, kind))
        for batch in BATCHES:
            recorder.note(f"us {name(latent, blocks, batch)}", partial(block_steps, recorder, latent, blocks, batch))
    for latent, blocks in MODELS:
        for direction in ("forward+backward", "forward"):
            key = f"rollout us {name(latent, blocks, 128)} {STEPS} steps {direction}"
            recorder.note(key, partial(rollouts, recorder, latent, blocks, direction))


def time_wave_steps(recorder: Recorder) -> None:
    """Whole steps of the presets that the rollout dominates, and what is chosen for them."""
    presets = ("wave100", "wave")
    for preset in presets[: 1 if recorder.dry else None]:
        sizes = conv_parts.sizes(recorder, preset)
        recorder.note(f"choices {preset}", partial(conv_parts.choices_of, preset, *sizes))
        ways = ("fastsep",) if recorder.dry else ("fastsep captured", "fastsep untuned captured")
        conv_parts.time_steps(recorder, ways, (preset,))


def name(latent: int, blocks: int, batch: int) -> str:
    """A shape in words."""
    return f"L={latent} R={blocks} B={batch}"


def problem_of(latent: int, blocks: int, batch: int, adjoint: bool) -> Any:
    """As the table of cuts is asked."""
    from kernels.latent_rollout import configs, launch

    limits = launch.device_limits(torch.cuda.current_device())
    return configs.Problem(batch, latent, WIDTH, blocks, DTYPE, adjoint, *limits)


def cut_of(latent: int, blocks: int, batch: int, adjoint: bool, kind: str) -> Any:
    """The cut of a kernel that the table gives; None where another kernel takes its place."""
    from kernels.latent_rollout import configs

    config = configs.choose(problem_of(latent, blocks, batch, adjoint), kind)
    return config if type(config).__name__.lower() == kind else None


def agree(recorder: Recorder, latent: int, blocks: int, kind: str) -> dict[str, Any]:
    """Relative distances from plain products, and whether ten more runs give the same bits."""
    if recorder.dry:
        return {"skipped": "the kernels need a GPU"}
    from kernels.latent_rollout import configs, launch, tune

    t0, stacked = tune.make(128, latent, blocks)
    grad = torch.randn(STEPS, 128, latent, device="cuda")
    forward, adjoint = (cut_of(latent, blocks, 128, a, kind) for a in (False, True))
    if forward is None or adjoint is None:
        return {"skipped": "its programs cannot all be resident here"}

    def run() -> list[torch.Tensor]:
        latents, h1, h2 = launch.forward(t0, stacked, STEPS, forward, keep=True)
        adjoints, dz1, dz2 = launch.recursion(grad, h1, h2, stacked, adjoint)
        tile = configs.gradient_tile(problem_of(latent, blocks, 128, True))
        stacks = launch.weight_gradients(latents, adjoints, h1, h2, dz1, dz2, torch.float32, tile)
        return [latents, h1, h2, adjoints, dz1, dz2, *unstack(stacks)]

    found = run()
    latents, h1, h2 = found[:3]
    # Each part from what the kernel itself gave the one before, so that no rounding is counted twice.
    hidden = reference.hidden_states(latents, stacked)
    recursion = reference.recursion(grad, hidden._replace(h1=h1, h2=h2), stacked)
    wide = reference.Hidden(*(x.float() for x in (hidden.t, h1, h2)))
    stacks = reference.weight_gradients(found[3], wide, *(x.float() for x in found[4:6]))
    expected = [reference.trajectory(t0, stacked, STEPS), *hidden[1:], *recursion, *unstack(stacks)]
    errors = [((a - b).float().norm() / b.float().norm()).item() for a, b in zip(found, expected, strict=True)]
    different = sum(not all(map(torch.equal, run(), found)) for _ in range(10))
    return {"states": errors[0], "hidden": max(errors[1:3]), "adjoints": max(errors[3:6]), "weights": max(errors[6:]),
            "runs that differ": different}  # fmt: skip


def block_steps(recorder: Recorder, latent: int, blocks: int, batch: int) -> dict[str, Any]:
    """Microseconds a block-step of every kernel that takes the shape: forward, keeping what training needs, adjoint."""
    if recorder.dry:
        return {"skipped": "the kernels need a GPU"}
    from kernels.latent_rollout import configs, launch, tune

    t0, stacked = tune.make(batch, latent, blocks)
    times: dict[str, Any] = {}
    for kind in KERNELS:
        forward, adjoint = (cut_of(latent, blocks, batch, a, kind) for a in (False, True))
        if forward is not None:
            for keep in (False, True):
                if not keep or configs.leaves_hidden(forward, problem_of(latent, blocks, batch, False)):
                    call = partial(roll, launch.forward, t0, stacked, keep)
                    times[f"{kind} {'keeping' if keep else 'forward'}"] = tune.block_step(call, forward, STEPS, blocks)
        if adjoint is not None:
            call = tune.calls(batch, latent, blocks, STEPS, True)
            times[f"{kind} adjoint"] = tune.block_step(call, adjoint, STEPS, blocks)
    return {key: round(us, 3) for key, us in times.items()}


def roll(forward: Callable[..., Any], t0: torch.Tensor, stacked: reference.Blocks, keep: bool, config: Any) -> None:
    """One forward rollout."""
    forward(t0, stacked, STEPS, config, keep)


def rollouts(recorder: Recorder, latent: int, blocks: int, direction: str) -> dict[str, Any]:
    """Microseconds of a whole rollout, casts and weight gradients included, captured, by every backend."""
    if recorder.dry:
        return {"skipped": "the kernels need a GPU"}
    from kernels.latent_rollout import tune

    shape = {"batch": 128, "steps": STEPS, "latent": latent, "width": WIDTH, "blocks": blocks, "dtype": DTYPE}
    task = make_task(direction, recorder.device, **shape)
    out: dict[str, Any] = {}
    for backend, call in task.candidates.items():
        try:
            out[backend] = round(tune.captured_microseconds(call, 8), 1)
        except Exception as error:
            out[backend] = f"failed: {type(error).__name__}: {str(error)[:150]}"
    return out
