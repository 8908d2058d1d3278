"""Does the cluster kernel work on this GPU, and how fast? ``python -m kernels.latent_rollout.cluster.check``.

Stages run one after another, each in a process of its own with a time limit, so that a kernel that hangs or breaks the
CUDA context takes nothing along: ``first`` (one cluster, one step), ``correct``, ``speed``. Every result is one line of
JSON. What follows a stage that failed is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from kernels.latent_rollout import cluster
from kernels.latent_rollout.cluster import phases, steps
from kernels.latent_rollout.cluster.timing import captured_microseconds
from kernels.latent_rollout.reference import Blocks, Kept

BF16, FP16 = torch.bfloat16, torch.float16
FIRST = (  # latent, width, blocks, batch, steps, rows, dtype: growing from one cluster and one block-step
    (32, 512, 1, 16, 2, 16, BF16),
    (32, 512, 1, 8, 2, 8, BF16),
    (16, 256, 1, 16, 2, 16, BF16),
    (32, 512, 3, 16, 2, 16, BF16),
    (32, 512, 3, 16, 25, 16, BF16),
    (32, 512, 3, 128, 25, 16, BF16),
)
CASES = (
    (32, 512, 3, 128, 25, 16, BF16), (32, 512, 3, 16, 25, 8, BF16), (20, 512, 1, 128, 40, 16, BF16),
    (64, 512, 1, 33, 9, 16, FP16), (64, 512, 2, 7, 9, 8, BF16), (16, 256, 3, 200, 15, 16, FP16),
    (10, 256, 4, 13, 5, 8, BF16), (32, 512, 3, 300, 15, 16, BF16), (32, 512, 3, 5, 1, 8, BF16),
    (32, 512, 3, 21, 2, 16, FP16), (9, 512, 2, 5, 4, 16, BF16), (32, 512, 3, 1024, 25, 16, BF16),
)  # fmt: skip
MODELS = ((32, 3), (20, 1), (64, 1))  # latent size, blocks
BATCHES = (128, 120, 16, 1, 256, 1024)
STEPS = 25
LIMITS = {"first": 120, "correct": 150, "speed": 150}
"""Seconds that a stage may take, its compilation included."""


def directions(case: tuple) -> tuple[Callable, Callable, Callable]:
    """Forward, recursion and errors of a case, on the GPU."""
    latent, width, blocks, batch, length, rows, dtype = case
    t0, grad, stacked = steps.example(latent, width, blocks, batch, length, dtype, "cuda")

    def forward() -> tuple[torch.Tensor, Kept]:
        return cluster.forward(t0, stacked, length, True, rows)

    def recursion(kept: Kept) -> tuple[torch.Tensor, ...]:
        return cluster.recursion(grad, kept, stacked, rows)

    def errors(latents: torch.Tensor, kept: Kept, adjoints: tuple[torch.Tensor, ...]) -> dict[str, float]:
        by_step = steps.forward_errors(t0, stacked, latents, kept)
        return by_step | steps.adjoint_errors(grad, stacked, kept, *adjoints)

    return forward, recursion, errors


def describe(case: tuple) -> str:
    """A case in words."""
    latent, width, blocks, batch, length, rows, dtype = case
    return f"L={latent} H={width} R={blocks} B={batch} steps={length} rows={rows} {str(dtype)[6:]}"


def verify(case: tuple) -> dict[str, Any]:
    """Errors of one case, step by step, and whether a second run gives the same bits."""
    forward, recursion, errors = directions(case)
    latents, kept = forward()
    torch.cuda.synchronize()
    adjoints = recursion(kept)
    found = errors(latents, kept, adjoints)
    again = forward()[0]
    return {"case": describe(case), "errors": found, "wrong": steps.wrong(found), "same": torch.equal(latents, again)}


def first() -> Iterator[dict[str, Any]]:
    """Growing from one cluster and one block-step; the forward direction is reported before the other is tried."""
    for case in FIRST:
        latent, width, blocks, batch, length, rows, dtype = case
        t0, _, stacked = steps.example(latent, width, blocks, batch, length, dtype, "cuda")
        latents, kept = cluster.forward(t0, stacked, length, True, rows)
        torch.cuda.synchronize()
        found = steps.forward_errors(t0, stacked, latents, kept)
        yield {"case": describe(case), "forward": found, "wrong": steps.wrong(found), "where": where(t0, stacked, kept)}
        yield verify(case)


def where(t0: torch.Tensor, blocks: Blocks, kept: Kept) -> str:
    """Which slices of 64 units and rows of the first block-step's hidden layers are wrong, for a first failure."""
    batch = t0.shape[0]
    h1, h2 = kept.h1[0, :batch].double(), kept.h2[0, :batch].double()
    w1, b1, w2, b2 = (w[0].double() for w in blocks[:4])
    wanted1, wanted2 = (t0.to(blocks.w1.dtype).double() @ w1.T + b1).relu(), (h1 @ w2.T + b2).relu()
    words = []
    for name, found, wanted in (("h1", h1, wanted1), ("h2", h2, wanted2)):
        off = (found - wanted).abs() > 0.02 * wanted.abs().max()
        if off.any():
            rows, units = off.any(1).nonzero().flatten().tolist(), off.any(0).nonzero().flatten()
            words.append(f"{name}: rows {rows[:16]}, slices {(units // (h1.shape[1] // 8)).unique().tolist()}, ")
            words.append(f"{off.sum().item()} of {off.numel()}, units {units[:16].tolist()}")
    return "".join(words)


def correct() -> Iterator[dict[str, Any]]:
    """Odd shapes, the same bits over a hundred runs, two streams at once, a captured graph."""
    for rows in (8, 16):
        stacked = steps.example(32, 512, 3, 16, 2, BF16, "cuda")[2]
        yield {"resident clusters": cluster.resident_clusters(stacked, rows), "rows": rows}
    for case in CASES:
        yield verify(case)
    for case in (CASES[0], CASES[1]):
        yield {"case": describe(case), "runs that differ": repeat(case), "two streams differ": streams(case),
               "replays differ": replay(case)}  # fmt: skip


def repeat(case: tuple, runs: int = 100) -> int:
    """Of so many runs, those whose bits differ from the first's, with NaN in the memory they are given."""
    forward, recursion, _ = directions(case)
    latents, kept = forward()
    wanted = latents, kept.h1, kept.h2, *recursion(kept)
    different = 0
    for _ in range(runs):
        torch.full((1 << 24,), float("nan"), device="cuda")
        latents, kept = forward()
        found = latents, kept.h1, kept.h2, *recursion(kept)
        different += not all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    return different


def streams(case: tuple, runs: int = 20) -> int:
    """Of so many runs on each of two streams at once, those whose bits differ from a run alone."""
    forward, recursion, _ = directions(case)
    latents, kept = forward()
    wanted = latents, *recursion(kept)
    torch.cuda.synchronize()
    results, both = [], [torch.cuda.Stream() for _ in range(2)]
    for _ in range(runs):
        for stream in both:
            with torch.cuda.stream(stream):
                latents, kept = forward()
                results.append((latents, *recursion(kept), kept))  # held, so that no memory is used twice
    torch.cuda.synchronize()
    return sum(not all(torch.equal(a, b) for a, b in zip(found, wanted, strict=False)) for found in results)


def replay(case: tuple, runs: int = 20) -> int:
    """Of so many replays of a captured graph, those whose bits differ from a plain run."""
    forward, recursion, _ = directions(case)
    latents, kept = forward()
    wanted = latents, *recursion(kept)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        latents, kept = forward()
        found = latents, *recursion(kept)
    different = 0
    for _ in range(runs):
        for tensor in found:
            tensor.fill_(float("nan"))
        graph.replay()
        different += not all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    return different


def speed() -> Iterator[dict[str, Any]]:
    """Microseconds a block-step, many calls in one graph: forward, forward that keeps, and the recursion. Then the
    cycles of each phase."""
    for (latent, blocks), batch in ((model, batch) for model in MODELS for batch in BATCHES):
        t0, grad, stacked = steps.example(latent, 512, blocks, batch, STEPS, BF16, "cuda")
        for rows in (16, 8):
            call = {"latent": latent, "blocks": blocks, "batch": batch, "rows": rows}
            yield call | microseconds(t0, grad, stacked, rows)
    for latent, blocks in MODELS[:2]:
        t0, grad, stacked = steps.example(latent, 512, blocks, 128, STEPS, BF16, "cuda")
        for rows in (16, 8):
            yield {"latent": latent, "blocks": blocks, "rows": rows, "cycles": phases.measure(t0, grad, stacked, rows)}


def microseconds(t0: torch.Tensor, grad: torch.Tensor, blocks: Blocks, rows: int) -> dict[str, float]:
    """Of the three calls, a block-step."""
    _, kept = cluster.forward(t0, blocks, grad.shape[0], True, rows)
    calls = {
        "forward": lambda: cluster.forward(t0, blocks, grad.shape[0], False, rows),
        "forward keeping": lambda: cluster.forward(t0, blocks, grad.shape[0], True, rows),
        "recursion": lambda: cluster.recursion(grad, kept, blocks, rows),
    }
    block_steps = (grad.shape[0] - 1) * blocks.w1.shape[0]
    return {name: round(captured_microseconds(call, 20) / block_steps, 3) for name, call in calls.items()}


STAGES: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {"first": first, "correct": correct, "speed": speed}


def bad(line: dict[str, Any]) -> bool:
    """Whether a result says that something is wrong."""
    return bool(line.get("wrong") or line.get("failed") or line.get("same") is False) or any(
        "differ" in name and count for name, count in line.items()
    )


def run_stage(name: str, limit: float | None = None) -> Iterator[dict[str, Any]]:
    """A stage in a process of its own; a line more, ``failed``, where it broke or was stopped."""
    command = [sys.executable, "-m", "kernels.latent_rollout.cluster.check", "--stage", name]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            output, errors = child.communicate(timeout=limit or LIMITS[name])
            status = child.returncode
        except subprocess.TimeoutExpired:
            child.kill()
            output, errors = child.communicate()
            status = "stopped at its limit"
    yield from (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    if status:
        yield {"stage": name, "failed": status, "error": errors.strip()[-1500:]}


def main() -> None:
    """Parse; run one stage in this process, or all in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=STAGES, help="only this one, in this process")
    stage = parser.parse_args().stage
    if not torch.cuda.is_available():
        print("error: no GPU here: without one, the tests on the emulator check the kernel", file=sys.stderr)
        sys.exit(2)
    if stage:
        for line in STAGES[stage]():
            print(json.dumps(line), flush=True)
        return
    for name in STAGES:
        lines = []
        for line in run_stage(name):
            lines.append(line)
            print(json.dumps(line), flush=True)
        if any(map(bad, lines)):
            raise SystemExit(f"{name}: something is wrong, see above")


if __name__ == "__main__":
    main()
