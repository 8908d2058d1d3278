"""Who works on one thing together, and what they tell each other.

GPUs talk through NCCL, hosts through gloo: what ranks decide (when to stop, what to run) never waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import _functional_collectives as collectives

from fastsep.errors import UserError
from fastsep.signals import Request

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Who works together; by default one process alone, for which every method is free."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Number of the process on its machine."""
    local_size: int = 1
    joined: bool = False
    """There is a process group."""
    restarts: int = 0
    """How often the launchers have started the processes anew."""
    agents: frozenset[str] = frozenset()
    """The launchers of all ranks; they outlive the processes that they start anew."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def fits_graphs(self) -> bool:
        """Whether a CUDA graph can hold what the ranks tell each other: NCCL records it, gloo talks from the host."""
        return not self.joined or dist.is_nccl_available()

    def share(self, batch_size: int, parts: int = 1, settled: bool = False) -> int:
        """Rows of a batch that fall to each rank.

        Args:
            parts: of equal size, into which each rank cuts them.
            settled: the batch size cannot be changed any more.

        Raises:
            UserError: it cannot be divided so.
        """
        unit = self.size * parts
        if batch_size % unit:
            below, above = batch_size // unit * unit, -(-batch_size // unit) * unit
            sizes = f"{below} or {above}" if below else f"{above}"
            of = f", in {parts} parts each" if parts > 1 else ""
            remedy = f"set --batch-size to {sizes}, or start fewer"
            if settled:
                fitting = [str(size) for size in range(1, self.size) if batch_size % (size * parts) == 0]
                remedy = f"a run keeps its --batch-size, so start {' or '.join(fitting[-3:])}"
            raise UserError(f"a batch of {batch_size} cannot be divided among {self.size} processes{of}: {remedy}")
        return batch_size // self.size

    def rows(self, order: Tensor, batch_size: int) -> Tensor:
        """This rank's rows of consecutive batches: of (steps * B,) those (steps * B / size,) that it takes."""
        return order if self.size == 1 else order.view(-1, self.size, self.share(batch_size))[:, self.rank].flatten()

    def average(self, values: Tensor) -> Tensor:
        """The mean of ``values`` over the ranks, in place."""
        if self.joined:
            dist.all_reduce(values)
            values /= self.size
        return values

    def stack(self, values: Tensor) -> Tensor:
        """``values`` of every rank, (...) -> (size, ...); compilers and CUDA graphs can trace it."""
        if not self.joined:
            return values[None]
        # Its name before PyTorch 2.13.
        gather = getattr(collectives, "all_gather_single", None) or collectives.all_gather_tensor
        return collectives.wait_tensor(gather(values[None].contiguous(), 0, dist.group.WORLD))

    def collect(self, values: Tensor, source: int) -> Tensor:
        """On rank 0 what rank ``source`` called this with, in the memory of rank 0's own ``values``, of equal shape."""
        if source and self.rank == source:
            dist.send(values, 0)
        elif source and self.is_first:
            dist.recv(values, source)
        return values

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite ``tensors`` by those of rank 0."""
        if self.joined:
            with torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def of_first(self, value: T | None) -> T:
        """What rank 0 gave, on all ranks: any object that can be pickled."""
        if not self.joined:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """What each rank gave, by rank, on all ranks: any object that can be pickled."""
        if not self.joined:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def same(self, value: T, difference: Callable[[int, T, T], str]) -> None:
        """Raise UserError with the text of ``difference(rank, first, other)`` where a rank gave another than rank 0."""
        values = self.gather(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise UserError(difference(rank, values[0], other))

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.gather(None)

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """The first process of each machine passes the block before the others: what it fetches is there for them."""
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    def vote(self, request: Request) -> Callable[[], int]:
        """The signal that asked any rank to stop before this call, 0 for none, once called; the same on all ranks.

        Ranks exchange it while the step between the two calls runs.
        """
        if not self.joined:
            return lambda: request.signum
        signum = torch.tensor(request.signum)
        work = dist.all_reduce(signum, dist.ReduceOp.MAX, async_op=True)

        def outcome() -> int:
            work.wait()
            return int(signum)

        return outcome


ALONE = World()
