"""Which windows each step of a run takes.

Letters: B rows of a batch that fall to this process.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fastsep.config import Config
from fastsep.data.windows import Windows
from fastsep.training import draws
from fastsep.training.pace import Pace
from fastsep.world import World


def batches(windows: Windows, pace: Pace, config: Config, world: World, done: int) -> Iterator[Tensor]:
    """Window numbers (B,), this rank's, of each step from ``done`` on; each epoch has an order of its own."""
    batch = config.optim.batch_size
    generator = torch.Generator()  # the host's: a run goes on in the same order on another device
    total, per_epoch = pace
    while done < total:
        epoch, first = divmod(done, per_epoch)
        generator.manual_seed(draws.key(config.run.seed, epoch, "order"))
        order = windows.order(generator, batch)
        steps = min(per_epoch, total - epoch * per_epoch)
        order = world.rows(order[first * batch : steps * batch], batch)
        windows.expect(order)
        if windows.device.type == "cuda" and windows.resident:  # pinned: the host need not wait for earlier steps
            order = order.pin_memory().to(windows.device, non_blocking=True)
        yield from order.split(world.share(batch))
        done = epoch * per_epoch + steps
