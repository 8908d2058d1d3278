"""The parts of the GPU suite about single kernels: thin layers, batch norms, pooling, Adam."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from bench import subjects
from bench.profiling import kernels
from bench.recorder import Recorder
from bench.thin_layers import LAYERS, NORM_EXITS, least_bytes
from bench.timing import measure
from kernels.adam import Moments, adam_step
from kernels.choose.cases import Case, make_task
from kernels.choose.measure import judge

NORMS = {
    "mnist decoder 2": (128, 16, 128, 16),
    "mnist decoder 3": (128, 16, 64, 32),
    "chairs encoder": (128, 2, 64, 17),
    "chairs encoder 3": (128, 2, 512, 3),
    "sst encoder": (128, 2, 64, 64),
    "sst decoder": (128, 7, 64, 64),
    "sst decoder, last": (128, 7, 1, 64),
    "sst integrator": (128, 1, 512, 16),
}
"""Images a call, calls, channels, side."""


def time_thin_layers(recorder: Recorder) -> None:
    """Every way of every thin layer, verified, each direction by itself."""
    for (preset, op), facts in list(LAYERS.items())[:: 4 if recorder.dry else 1]:
        for direction in ("forward", "backward"):
            make = partial(time_ways, op, direction, facts, recorder.device, recorder.dry)
            recorder.note(f"{op} {preset} {direction}", make)
    for preset, facts in list(NORM_EXITS.items())[: 1 if recorder.dry else None]:
        make = partial(time_ways, "norm_exit", "forward+backward", facts, recorder.device, recorder.dry)
        recorder.note(f"norm_exit {preset}", make)


def time_ways(op: str, direction: str, facts: dict[str, Any], device: torch.device, dry: bool) -> dict[str, Any]:
    """Microseconds and GB/s (of the least traffic) of each way, and why some are out."""
    if dry:
        facts = {**facts, "n": 1, "c": min(facts["c"], 16)}
        facts |= {"calls": 1} if "calls" in facts else {}
    return judged(op, direction, facts, device, least_bytes(op, direction, facts))


def judged(op: str, direction: str, facts: dict[str, Any], device: torch.device, traffic: int) -> dict[str, Any]:
    """The same, given the least traffic in bytes."""
    case = Case(op, direction, tuple({**facts, "dtype": torch.bfloat16}.items()))
    verdict = judge(make_task(case, device), device)
    ways = {name: {"us": round(us, 1), "gb_s": round(traffic / us / 1e3)} for name, us in verdict.us.items()}
    return {"best": verdict.use, "ways": ways, "out": verdict.out, "mb": round(traffic / 1e6, 1)}


def time_norms(recorder: Recorder) -> None:
    """Batch norm per call on maps of the presets, forward and backward in one graph, and each of its kernels."""
    for name, sizes in list(NORMS.items())[: 1 if recorder.dry else None]:
        for way in ("fastsep",) if recorder.dry else ("fastsep captured", "reference captured"):
            sizes = (1, *sizes[1:]) if recorder.dry else sizes
            recorder.note(f"call_norm {name} {way}", partial(time_norm, way, sizes, recorder.device, recorder.dry))


def time_norm(way: str, sizes: tuple[int, ...], device: torch.device, dry: bool) -> dict[str, Any]:
    """Microseconds, GB/s (of three passes over the map forward and five backward), microseconds of each kernel."""
    batch, calls, channels, side = sizes
    subject = subjects.norm(way, batch, calls, device, "fp32" if dry else "bf16", channels, side)
    us = 1e6 * measure(subject.call, device, rounds=20, budget=0.3).median
    traffic = 8 * subject.keep[0].nbytes
    rows = {row["kernel"][:60]: row["us"] for row in kernels(subject.call, device)[:8]}
    return {"us": round(us, 1), "gb_s": round(traffic / us / 1e3), "mb": round(traffic / 1e6, 1), "kernels": rows}


def time_small_kernels(recorder: Recorder) -> None:
    """The stem's pooling of the chairs encoders, both ways of it, and Adam on as many weights as a model has."""
    n, side = (2, 5) if recorder.dry else (256, 33)
    facts = {"side": 3, "n": n, "c": 64, "h": side, "w": side}
    pixels, windows = n * 64 * side * side, n * 64 * ((side + 1) // 2) ** 2
    traffic = 2 * (2 * pixels + 2 * windows) + 2 * windows  # both maps, each way; a byte for each place
    recorder.note("max_pool chairs", partial(judged, "max_pool", "forward+backward", facts, recorder.device, traffic))
    for way in ("reference", "fastsep"):
        recorder.note(f"adam {way}", partial(time_adam, way, 1000 if recorder.dry else 2**24, recorder.device))


def time_adam(way: str, numbers: int, device: torch.device) -> dict[str, Any]:
    """Microseconds and GB/s (of 28 bytes a weight) of a step with a bf16 gradient that leaves a bf16 weight, too."""
    weight, half = torch.randn(numbers, device=device), torch.empty(numbers, device=device, dtype=torch.bfloat16)
    moments = Moments(torch.zeros_like(weight), torch.zeros_like(weight), torch.ones((), device=device))
    grad, rate = torch.randn_like(half), torch.tensor(1e-3, device=device)
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.Adam([weight], lr=rate, fused=on_gpu, capturable=on_gpu)

    def call() -> None:
        if way == "fastsep":
            adam_step(weight, half, grad, moments, rate, (0.9, 0.999), 1e-8)
        else:
            weight.grad = grad.float()
            optimizer.step()
            half.copy_(weight)

    call = subjects.captured(call) if on_gpu else call
    us = 1e6 * measure(call, device, rounds=20, budget=0.3).median
    return {"us": round(us, 1), "gb_s": round(28 * numbers / us / 1e3), "weights": numbers}
