"""Times of calls so short that only a graph of many shows them."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch


def captured_microseconds(call: Callable[[], object], repeats: int, rounds: int = 11) -> float:
    """Median time of one call among ``repeats`` captured in one graph."""
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            call()
    times = []
    for _ in range(rounds + 1):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / repeats)
    return statistics.median(times[1:])
