"""Time every candidate cut of both kernels on this machine's GPU and write the table of the best.

``python -m kernels.latent_rollout.tune --out kernels/latent_rollout/table.json`` replaces the committed table;
``--seconds`` bounds it (two minutes unless told otherwise): problems are taken in the order of their importance and
what was not reached is not written. Many calls are captured in one graph, since a replay costs as much as a few
block-steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from kernels.latent_rollout import configs, launch, reference
from kernels.latent_rollout.cluster.timing import captured_microseconds
from kernels.latent_rollout.configs import Stationary, Streaming

WIDTH = 512
MODELS = ((32, 3), (20, 1), (64, 1), (20, 3), (32, 1), (64, 3))  # latent size, blocks
BATCHES = (128, 16, 1, 1024)
STEPS = (25, 100, 15)
CAPTURED_BLOCK_STEPS = 600  # a millisecond or two
DTYPE = torch.bfloat16


def make(batch: int, latent: int, blocks: int, dtype: torch.dtype = DTYPE) -> tuple[Tensor, reference.Blocks]:
    """A state and weights under which a rollout of any length stays finite."""
    torch.manual_seed(0)
    shapes = reference.weight_shapes(latent, WIDTH)
    weights = [torch.randn(s, device="cuda") * (0.3 / s[-1] ** 0.5) for _ in range(blocks) for s in shapes]
    return torch.randn(batch, latent, device="cuda"), reference.stack_blocks(weights, dtype)


def calls(batch: int, latent: int, blocks: int, steps: int, adjoint: bool, dtype: torch.dtype = DTYPE) -> Callable:
    """A function of a cut that runs one forward, keeping what training needs where the kernel leaves it, or one adjoint
    recursion without the products after it."""
    t0, stacked = make(batch, latent, blocks, dtype)
    if not adjoint:
        problem = launch.describe(t0, stacked, adjoint=False)
        return lambda config: launch.forward(t0, stacked, steps, config, configs.leaves_hidden(config, problem))
    hidden = reference.hidden_states(reference.trajectory(t0, stacked, steps), stacked)
    grad = torch.randn(steps, batch, latent, device="cuda")
    return lambda config: launch.recursion(grad, hidden.h1, hidden.h2, stacked, config)


def problems(latent: int, blocks: int) -> list[tuple[configs.Problem, bool]]:
    """Every batch and direction of one model on this device."""
    programs, shared = launch.device_limits(torch.cuda.current_device())
    return [
        (configs.Problem(batch, latent, WIDTH, blocks, DTYPE, adjoint, programs, shared), adjoint)
        for batch in BATCHES
        for adjoint in (False, True)
    ]


def warm(share: int, shares: int) -> None:
    """Compile this process's share of all kernels into Triton's cache by launching each once."""
    jobs = []
    for latent, blocks in MODELS:
        for adjoint in (False, True):
            cuts = {c: p.batch for p, a in problems(latent, blocks) if a == adjoint for c in configs.candidates(p)}
            jobs += [(latent, blocks, adjoint, batch, config) for config, batch in cuts.items()]
    for latent, blocks, adjoint, batch, config in jobs[share::shares]:
        calls(batch, latent, blocks, 2, adjoint)(config)
    torch.cuda.synchronize()


def compile_in_parallel() -> None:
    """Compilation takes longer than all measurements, so it is spread over processes."""
    shares = max(1, min(12, (os.cpu_count() or 2) - 2))
    command = [sys.executable, "-m", "kernels.latent_rollout.tune", "--warm"]
    children = [subprocess.Popen([*command, f"{k}/{shares}"]) for k in range(shares)]
    if any([child.wait() for child in children]):
        raise SystemExit("a compiling process failed: see its message above")


def line(batch: int, latent: int, blocks: int, adjoint: bool, config: Streaming | Stationary) -> dict[str, object]:
    """One line of table.json."""
    kind = type(config).__name__.lower()
    cut = dataclasses.asdict(config)
    return {"batch": batch, "latent": latent, "blocks": blocks, "adjoint": adjoint, "kernel": kind, "cut": cut}


def measure_model(latent: int, blocks: int, deadline: float, table: list[dict[str, object]]) -> None:
    """Time all candidates of one model at the first number of steps, the best at the others."""
    for problem, adjoint in problems(latent, blocks):
        call = calls(problem.batch, latent, blocks, STEPS[0], adjoint)
        found = {}
        for config in configs.candidates(problem):
            if time.monotonic() > deadline:
                return
            found[config] = block_step(call, config, STEPS[0], blocks)
            report(problem, STEPS[0], config, found[config])
        best = min(found, key=found.get)
        for steps in STEPS[1:]:
            call = calls(problem.batch, latent, blocks, steps, adjoint)
            report(problem, steps, best, block_step(call, best, steps, blocks), " best")
        table.append(line(problem.batch, problem.latent, blocks, adjoint, best))


def block_step(call: Callable, config: Streaming | Stationary | None, steps: int, blocks: int) -> float:
    """Microseconds a block-step, everything the call does included."""
    block_steps = (steps - 1) * blocks
    return captured_microseconds(lambda: call(config), max(1, CAPTURED_BLOCK_STEPS // block_steps)) / block_steps


def report(problem: configs.Problem, steps: int, config: object, microseconds: float, note: str = "") -> None:
    """Print one measurement."""
    direction = "adjoint" if problem.adjoint else "forward"
    shape = f"B={problem.batch:<5}L={problem.latent:<3}blocks={problem.blocks} steps={steps:<4}{direction}"
    print(f"{shape} {microseconds:7.2f} us/block-step  {config}{note}", flush=True)


def measure_float32() -> None:
    """Print, for information, what float32 costs at the wave preset's shape."""
    programs, shared = launch.device_limits(torch.cuda.current_device())
    t0, stacked = make(128, 32, 3, torch.float32)
    for adjoint in (False, True):
        problem = configs.Problem(128, 32, WIDTH, 3, torch.float32, adjoint, programs, shared)
        call = calls(128, 32, 3, STEPS[0], adjoint, torch.float32)
        for config in configs.candidates(problem):
            report(problem, STEPS[0], config, block_step(call, config, STEPS[0], 3), " float32")
        if not adjoint:
            plain = block_step(lambda _: reference.trajectory(t0, stacked, STEPS[0]), None, STEPS[0], 3)
            report(problem, STEPS[0], "plain products, captured", plain, " float32")


def main() -> None:
    """Parse, compile, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="where to write the table; printed only when left out")
    parser.add_argument("--seconds", type=float, default=120.0, help="time for compiling and measuring")
    parser.add_argument("--warm", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("tuning needs a GPU")
    if options.warm:
        warm(*map(int, options.warm.split("/")))
        return
    deadline = time.monotonic() + options.seconds
    compile_in_parallel()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {DTYPE}, H={WIDTH}", flush=True)
    table: list[dict[str, object]] = []
    measure_float32()
    for latent, blocks in MODELS:
        measure_model(latent, blocks, deadline, table)
    text = "[\n" + ",\n".join("  " + json.dumps(entry) for entry in table) + "\n]\n"
    print(text)
    if options.out:
        part = options.out.with_suffix(".part")
        part.write_text(text)
        part.rename(options.out)


if __name__ == "__main__":
    main()
