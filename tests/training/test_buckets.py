"""Buckets of gradients: what backward leaves, and what it leaves out."""

import torch
from ranks import run_ranks
from torch import nn

from fastsep import distributed
from fastsep.training.buckets import Buckets


class Halved(torch.autograd.Function):
    """Twice the first input; of the second there is no gradient, as compiled graphs say where it counts for nothing."""

    @staticmethod
    def forward(ctx, used, unused):
        return 2 * used

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad, None


def averages():
    world = distributed.current()
    used, unused, other = (nn.Parameter(torch.ones(3)) for _ in range(3))
    buckets = Buckets([used, unused, other], world)
    found = []
    for _ in range(2):
        for parameter in (used, unused, other):
            parameter.grad = None
        buckets.begin()
        ((world.rank + 1) * Halved.apply(used, unused).sum() + other.sum()).backward()
        buckets.finish()
        found.append((used.grad.tolist(), unused.grad, other.grad.tolist()))
    return found


def test_weights_without_a_gradient_are_passed_over():
    for found in run_ranks(2, averages):
        assert found == 2 * [([3.0] * 3, None, [1.0] * 3)]
