"""Gradients averaged over ranks, a bucket at a time, while backward computes the next ones.

PyTorch's DistributedDataParallel wants a module's forward to be called through it, and keeps autograd nodes of the
stream that it was made on, which the capture of a whole step as a CUDA graph then trips over. Hooks on the parameters
need neither: they fire in eager, compiled and captured steps alike, and a graph records what they start.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from fastsep.world import World

_BYTES = 25 << 20
"""Large enough for the full speed of a link, small enough that the first one leaves early."""


class Buckets:
    """Averages what backward leaves in ``grad``: ``begin``, then the step's last backward, then ``finish``.

    Which gradients there are, and in which order they come, the first step shows; it is the same in all others.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], world: World, size: int = _BYTES):
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._world = world
        self._size = size
        self._buckets: list[_Bucket] = []
        self._of: dict[nn.Parameter, _Bucket] = {}
        self._arrived: list[nn.Parameter] = []
        self._begun = False
        for parameter in self._parameters:
            parameter.register_post_accumulate_grad_hook(self._arrive)

    def begin(self) -> None:
        """What the next backward leaves is complete."""
        self._begun = True
        for bucket in self._buckets:
            bucket.missing = len(bucket.parameters)

    def finish(self) -> None:
        """Put the averages into ``grad``. On a GPU the stream waits for them, the host does not."""
        self._begun = False
        if not self._buckets:
            self._make()
        self._send()
        for bucket in self._buckets:
            bucket.finish(self._world.size)

    def _arrive(self, parameter: nn.Parameter) -> None:
        if not self._begun or parameter.grad is None:  # compiled steps leave none where eager ones leave zeros
            return
        if not self._buckets:
            self._arrived.append(parameter)
            return
        self._of[parameter].missing -= 1
        self._send()

    def _send(self) -> None:
        """Send what is complete, bucket after bucket: the order of messages must be the same on all ranks."""
        for bucket in self._buckets:
            if bucket.missing:
                break
            if bucket.work is None:
                bucket.send()

    def _make(self) -> None:
        """Buckets of the gradients that there are, in the order in which they came to rank 0."""
        number = {parameter: k for k, parameter in enumerate(self._parameters)}
        order = self._world.of_first([number[parameter] for parameter in self._arrived])
        groups: list[list[nn.Parameter]] = []
        for parameter in (self._parameters[k] for k in order):
            group = groups[-1] if groups else []
            size = sum(other.nbytes for other in group) + parameter.nbytes
            if not group or size > self._size or parameter.dtype != group[0].dtype:
                groups.append([parameter])
            else:
                group.append(parameter)
        self._buckets = [_Bucket(group) for group in groups]
        self._of = {parameter: bucket for bucket in self._buckets for parameter in bucket.parameters}


class _Bucket:
    """Some gradients side by side in one tensor."""

    def __init__(self, parameters: list[nn.Parameter]):
        self.parameters = parameters
        self.missing = 0
        """Gradients that backward has not left yet."""
        self.work: dist.Work | None = None
        self._flat = parameters[0].new_empty(sum(parameter.numel() for parameter in parameters))
        parts = self._flat.split([parameter.numel() for parameter in parameters])
        # Laid out like the parameters, as Adam's kernels want them.
        self._views = [
            a.as_strided(b.shape, b.stride(), a.storage_offset()) for a, b in zip(parts, parameters, strict=True)
        ]

    def send(self) -> None:
        torch._foreach_copy_(self._views, [parameter.grad for parameter in self.parameters])
        self.work = dist.all_reduce(self._flat, async_op=True)

    def finish(self, ranks: int) -> None:
        self.work.wait()
        self.work = None
        self._flat /= ranks
        for parameter, view in zip(self.parameters, self._views, strict=True):
            parameter.grad = view
