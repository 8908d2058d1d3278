"""Threads that stand for processes which exchange tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from kernels.call_norm import call_norm

T = TypeVar("T")


class Meeting:
    """``size`` threads of which one computes at a time; at a ``gather`` they wait for each other."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: list[Tensor] = [torch.empty(0)] * size
        self._barrier = threading.Barrier(size, timeout=60)
        self._turn = threading.Lock()

    def run(self, work: Callable[[int, Callable[[Tensor], Tensor]], T]) -> list[T]:
        """``work(rank, gather)`` of all ranks."""

        def one(rank: int) -> T:
            with self._turn:
                try:
                    return work(rank, lambda value: self._gather(rank, value))
                except BaseException:
                    self._barrier.abort()  # the others wait in vain
                    raise

        with ThreadPoolExecutor(self.size) as pool:
            jobs = [pool.submit(one, rank) for rank in range(self.size)]
        causes = [job.exception() for job in jobs]
        for cause in causes:
            if cause is not None and not isinstance(cause, threading.BrokenBarrierError):
                raise cause
        return [job.result() for job in jobs]

    def _gather(self, rank: int, value: Tensor) -> Tensor:
        self._values[rank] = value
        self._wait()
        stacked = torch.stack(self._values)
        self._wait()
        return stacked

    def _wait(self) -> None:
        self._turn.release()
        try:
            self._barrier.wait()
        finally:
            self._turn.acquire()


def check_shared_norm(shape: tuple[int, ...], size: int, slope: float, backend: str) -> None:
    """Batch norm of float64 images (K, B, C, H, W) that ``size`` processes share, against one process with all."""
    calls, _, channels, *_ = shape
    x = torch.randn(shape, dtype=torch.float64) * 2 + 50
    weight, bias, conv_bias, mean, var = (torch.rand(channels, dtype=torch.float64) + 0.5 for _ in range(5))
    grad = torch.randn_like(x)

    def run(images: Tensor, grad: Tensor, gather: Callable[[Tensor], Tensor] | None, backend: str) -> list[Tensor]:
        tensors = [tensor.detach().clone().requires_grad_() for tensor in (images.flatten(0, 1), weight, bias)]
        running = [mean.clone(), var.clone()]
        settings = {"slope": slope, "momentum": 0.3, "conv_bias": conv_bias, "gather": gather, "backend": backend}
        y = call_norm(*tensors, *running, calls, **settings)
        by_x, *by_weights = torch.autograd.grad(y, tensors, grad.flatten(0, 1))
        return [*(t.detach().unflatten(0, (calls, -1)) for t in (y, by_x)), *running, *by_weights]

    def share(rank: int, gather: Callable[[Tensor], Tensor]) -> list[Tensor]:
        return run(x.chunk(size, 1)[rank], grad.chunk(size, 1)[rank], gather, backend)

    y, by_x, *moved = list(zip(*Meeting(size).run(share), strict=True))
    wanted_y, wanted_by_x, *wanted = run(x, grad, None, "call by call")
    torch.testing.assert_close(torch.cat(y, 1), wanted_y, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(torch.cat(by_x, 1), wanted_by_x, rtol=1e-9, atol=1e-11)
    for found, truth in zip(moved[:2], wanted[:2], strict=True):  # running statistics: the same on all
        for one in found:
            torch.testing.assert_close(one, truth, rtol=1e-12, atol=0)
    for found, truth in zip(moved[2:], wanted[2:], strict=True):  # derivatives by weights: their mean is averaged later
        torch.testing.assert_close(sum(found), truth, rtol=1e-9, atol=1e-9)
