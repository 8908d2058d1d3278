"""Sums over batches that do not depend on who computed which batch, to the last digit."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable

import torch
from torch import Tensor

from fastsep.world import World


class Sums:
    """Adds up what each batch comes to, under several keys.

    Batches are dealt out to the ranks in turn. What one comes to is the same wherever it is computed, and is added in
    float64 in the order of the batches: that of one process.
    """

    def __init__(self, world: World):
        self._world = world
        self._of_batches: dict[Hashable, list[Tensor]] = defaultdict(list)

    def add(self, key: Hashable, total: Tensor) -> None:
        """Count ``total``, float64 of any shape, of this rank's next batch; stays on its device."""
        self._of_batches[key].append(total)

    def totals(self) -> dict[Hashable, Tensor]:
        """The sums over all batches of all ranks, on the host (waits for the device and for the others)."""
        own = {key: torch.stack(totals).cpu() for key, totals in self._of_batches.items()}
        ranks = self._world.gather(own)
        totals = {}
        for key in ranks[0]:  # which has the first batch
            dealt = itertools.zip_longest(*(rank.get(key, ()) for rank in ranks))
            totals[key] = sum(total for turn in dealt for total in turn if total is not None)
        return totals
