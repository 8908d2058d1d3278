"""Batch norm of images that several processes hold: what one process computes of all of them."""

import pytest
import torch
from meeting import Meeting, check_shared_norm

from kernels.call_norm import call_norm


@pytest.mark.parametrize("slope", [0.2, 1.0])
@pytest.mark.parametrize(("calls", "batch", "channels", "size"), [(3, 4, 7, 2), (1, 6, 3, 3), (2, 2, 1, 2)])
def test_processes_share_the_statistics_of_all_images(calls, batch, channels, size, slope):
    check_shared_norm((calls, batch, channels, 3, 2), size, slope, "auto")


def test_a_large_mean_costs_no_digits():
    x = torch.randn(8, 2, 4, 4) + 3e4  # float32
    state = torch.ones(2), torch.zeros(2), torch.zeros(2), torch.ones(2)

    def run(rank, gather):
        return call_norm(x.chunk(2)[rank], *(t.clone() for t in state), 1, gather=gather)

    y = torch.cat(Meeting(2).run(run))
    exact = call_norm(x.double(), *(t.double() for t in state), 1)
    error, plain = ((found.double() - exact).square().mean().sqrt() for found in (y, call_norm(x, *state, 1)))
    assert error < 2 * plain + 1e-6
