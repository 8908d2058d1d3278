"""A step as one CUDA graph: a few steps to warm up, one that is recorded, and replays from then on."""

from __future__ import annotations

from collections.abc import Callable

import torch

_WARM_UP_STEPS = 3


class Replay:
    """Calls a step, or in its place launches all at once what it launched.

    Args:
        device: a GPU.
    """

    def __init__(self, device: torch.device):
        self._device = device
        # One for all warm-up steps: on every stream that it meets cuBLAS takes memory of its own.
        self._side = torch.cuda.Stream(device)
        self.record_anew()

    def record_anew(self) -> None:
        """Forget what was recorded: steps do other work from now on."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm_up_left = _WARM_UP_STEPS

    @property
    def recorded(self) -> bool:
        """Whether steps are replayed from now on."""
        return self._graph is not None

    def __call__(self, step: Callable[[], None], clear: Callable[[], None]) -> None:
        """Take a step. Three are called to warm up, the next one is recorded: all choices are made by then.

        Args:
            step: does the same work each time, on the same tensors, and never waits for the device.
            clear: frees what ``step`` is to allocate anew in the graph's own memory.
        """
        if self._warm_up_left:
            self._warm_up_left -= 1
            self._warm_up(step)
            return
        if not self.recorded:
            self._record(step, clear)
        self._graph.replay()

    def _warm_up(self, step: Callable[[], None]) -> None:
        """As recording wants it before: off the default stream, with everything allocated and compiled."""
        self._side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._side):
            step()
        torch.cuda.current_stream(self._device).wait_stream(self._side)

    def _record(self, step: Callable[[], None], clear: Callable[[], None]) -> None:
        """Recording runs nothing."""
        torch.cuda.synchronize(self._device)
        clear()
        graph = torch.cuda.CUDAGraph()
        # Another thread may be reading data ahead meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            step()
        self._graph = graph
