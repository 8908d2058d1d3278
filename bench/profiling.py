"""Which kernels a call spends its time in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

KINDS = {
    "fused by the compiler": r"^triton_",
    "thin convolution": r"entry|exit|^pad_|^add_terms",
    "pooling": r"max_pool_",
    "norm": r"normalise|statistics|finish|gradient_sums|gradient_kernel|batch_norm",
    "convolution": r"conv|cudnn|xmma|gemm|cutlass|wgrad|dgrad|cublas|nvjet|implicit",
    "rollout": r"stationary|streaming|rollout|cluster|adjoint|^products_kernel|^sum_kernel",
    "optimiser": r"adam|multi_tensor",
}
"""Regular expressions for names of kernels, the first that fits. The compiler names its own after all they feed."""


def kernels(call: Callable[[], object], device: torch.device, calls: int = 5) -> list[dict[str, Any]]:
    """Device time by kernel (GPU) or own time by operator (CPU), the largest first.

    Returns:
        ``kernel``, ``calls`` and ``us`` (microseconds), each per call.
    """
    on_gpu = device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=activities) as trace:
        for _ in range(calls):
            call()
        if on_gpu:
            torch.cuda.synchronize()
    rows = []
    for event in trace.key_averages():
        us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if us > 0:
            rows.append({"kernel": event.key[:100], "calls": event.count / calls, "us": round(us / calls, 2)})
    return sorted(rows, key=lambda row: -row["us"])


def shares(call: Callable[[], object], device: torch.device, largest: int = 8) -> list[dict[str, Any]]:
    """The largest kernels of one call as ``name`` and ``share`` of all time, the rest summed up."""
    rows = kernels(call, device, calls=1)
    total = sum(row["us"] for row in rows)
    top = [{"name": row["kernel"], "share": round(row["us"] / total, 4)} for row in rows[:largest]]
    return [*top, {"name": "the rest", "share": round(1 - sum(row["share"] for row in top), 4)}]


def by_kind(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Microseconds and number of kernels of each kind, the largest first."""
    sums: dict[str, dict[str, float]] = {}
    for row in rows:
        kind = next((kind for kind, names in KINDS.items() if re.search(names, row["kernel"], re.I)), "the rest")
        of = sums.setdefault(kind, {"us": 0.0, "calls": 0.0})
        of["us"], of["calls"] = round(of["us"] + row["us"], 1), round(of["calls"] + row["calls"], 1)
    return dict(sorted(sums.items(), key=lambda item: -item[1]["us"]))
