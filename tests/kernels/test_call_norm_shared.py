"""Batch norm of images that several processes hold: what one process computes of all of them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kernels.call_norm import call_norm


class Meeting:
    """Threads that stand for processes; ``gather(rank)`` is what one of them is given."""

    def __init__(self, size):
        self.size = size
        self._values = [None] * size
        self._barrier = threading.Barrier(size, timeout=30)

    def gather(self, rank):
        def collect(value):
            self._values[rank] = value
            self._barrier.wait()
            stacked = torch.stack(self._values)
            self._barrier.wait()
            return stacked

        return collect


@pytest.mark.parametrize("slope", [0.2, 1.0])
@pytest.mark.parametrize(("calls", "batch", "channels", "size"), [(3, 4, 7, 2), (1, 6, 3, 3), (2, 2, 1, 2)])
def test_processes_share_the_statistics_of_all_images(calls, batch, channels, size, slope):
    x = torch.randn(calls, batch, channels, 3, 2, dtype=torch.float64) * 2 + 50
    weight, bias, conv_bias, mean, var = (torch.rand(channels, dtype=torch.float64) + 0.5 for _ in range(5))
    grad = torch.randn_like(x)
    settings = {"slope": slope, "momentum": 0.3, "conv_bias": conv_bias}

    def run(images, grad, gather):
        tensors = [tensor.detach().clone().requires_grad_() for tensor in (images.flatten(0, 1), weight, bias)]
        running = [mean.clone(), var.clone()]
        y = call_norm(*tensors, *running, calls, gather=gather, **settings)
        by_x, *by_weights = torch.autograd.grad(y, tensors, grad.flatten(0, 1))
        return [tensor.detach().unflatten(0, (calls, -1)) for tensor in (y, by_x)], running, by_weights

    meeting = Meeting(size)
    parts = zip(x.chunk(size, 1), grad.chunk(size, 1), map(meeting.gather, range(size)), strict=True)
    with ThreadPoolExecutor(size) as pool:
        results = [job.result() for job in [pool.submit(run, *part) for part in parts]]
    (y, by_x), running, by_weights = run(x, grad, None)
    torch.testing.assert_close(torch.cat([maps[0] for maps, _, _ in results], 1), y, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(torch.cat([maps[1] for maps, _, _ in results], 1), by_x, rtol=1e-9, atol=1e-11)
    for _, moved, _ in results:
        torch.testing.assert_close(moved, running, rtol=1e-12, atol=0)
    summed = [sum(found) for found in zip(*(weights for _, _, weights in results), strict=True)]
    torch.testing.assert_close(summed, by_weights, rtol=1e-9, atol=1e-9)


def test_a_large_mean_costs_no_digits():
    x = torch.randn(8, 2, 4, 4) + 3e4  # float32
    state = torch.ones(2), torch.zeros(2), torch.zeros(2), torch.ones(2)
    meeting = Meeting(2)

    def run(rank):
        return call_norm(x.chunk(2)[rank], *(t.clone() for t in state), 1, gather=meeting.gather(rank))

    with ThreadPoolExecutor(2) as pool:
        y = torch.cat([job.result() for job in [pool.submit(run, rank) for rank in range(2)]])
    exact = call_norm(x.double(), *(t.double() for t in state), 1)
    error, plain = ((found.double() - exact).square().mean().sqrt() for found in (y, call_norm(x, *state, 1)))
    assert error < 2 * plain + 1e-6
