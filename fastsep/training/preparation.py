"""All that a training needs before its first step, checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fastsep.config import Config
from fastsep.data import residency
from fastsep.data.windows import Windows
from fastsep.errors import UserError, warn
from fastsep.machine.precision import resolve_device, resolve_precision
from fastsep.model import SeparableModel
from fastsep.networks.sizes import single_valued
from fastsep.room import TRAINING, require_room
from fastsep.runs.data_record import was_streamed
from fastsep.training import profiling
from fastsep.training.agreement import same_data, same_machine, same_settings
from fastsep.training.opening import open_data
from fastsep.training.pace import Pace, pace_of, settle_pace
from fastsep.training.ways import Ways, resolve_ways
from fastsep.world import World


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` hands out."""

    config: Config
    """With all that it left to the data settled."""
    device: torch.device
    dtype: torch.dtype
    """Of matrix products."""
    ways: Ways
    windows: Windows
    test_windows: Windows
    model: SeparableModel
    """With fresh weights."""
    pace: Pace


def prepare(config: Config, world: World, say: Callable[[str], None], run: Path | None = None) -> Prepared:
    """Open the data, settle what the settings leave to them, and make the model.

    Args:
        say: what to do with a line about the data, or about what was settled.
        run: the settings are those of this run, which keeps its networks and what its frames are scaled by.

    Raises:
        UserError: a device, data or settings that cannot be used; ranks that differ.
    """
    same_settings(world, config)
    device = resolve_device(config.run.device)
    if device.index is not None:  # graphs are captured, and Triton's kernels run, on the current one
        torch.cuda.set_device(device)
    dtype = resolve_precision(config.run.precision, device)
    ways = resolve_ways(config.run.compile, config.run.capture, device, config.run.tune, world)
    same_machine(world, device, dtype, ways)
    copies, given = TRAINING + (config.optim.ema is not None), config.model
    # What can be known before minutes of preparing data.
    if config.optim.batch_size is not None:
        world.share(config.optim.batch_size, config.optim.accumulate, settled=run is not None)
    if config.run.profile and config.optim.steps is not None:
        profiling.require_steps(config.optim.steps)
    if not config.model.left_open:
        require_room(config.model, device, copies)
    streamed = world.of_first(was_streamed(run)) if run else None
    with residency.shared_by(world), world.one_first():
        windows, test_windows, config = open_data(config, device, say, run, streamed)
    same_data(world, config, windows)
    windows.share = world.rank, world.size
    optim, line = settle_pace(config, len(windows), device, world.size)
    if line:
        say(line)
    config = replace(config, optim=world.of_first(optim))  # who has less memory, too
    idle = [name for name in config.model.idle if given.encoder == "auto" and getattr(given, name) is not None]
    if idle and run is None and world.is_first:
        flags = " and ".join("--" + name.replace("_", "-") for name in idle)
        which = " and ".join(dict.fromkeys((config.model.encoder, config.model.decoder)))
        warn(f"{flags} {'change' if ' and ' in flags else 'changes'} nothing: {which} networks have no such size")
    require_room(config.model, device, copies)
    torch.manual_seed(config.run.seed)
    model = build_model(config, device)
    _check_batch(config, windows, world)
    pace = pace_of(config.optim, len(windows))
    if config.run.profile:
        profiling.require_steps(pace.total_steps)
    return Prepared(config, device, dtype, ways, windows, test_windows, model, pace)


def build_model(config: Config, device: torch.device) -> SeparableModel:
    """A model with fresh weights on ``device``, laid out for its kind of network."""
    return SeparableModel(config.model).to(device).lay_out()


def _check_batch(config: Config, windows: Windows, world: World) -> None:
    """Refuse batches that the data, the processes or batch norm do not allow."""
    optim = config.optim
    batch, rows = optim.batch_size, world.share(optim.batch_size, optim.accumulate)
    encoder = config.model.encoder
    single = encoder if single_valued(encoder, config.model.shape[1:]) else None
    if single and len(windows) < 2:
        raise UserError(
            f"batch norm in {single} cannot learn from one training window: give longer or more sequences, or lower "
            "--nt-pred"
        )
    if len(windows) < batch:
        raise UserError(f"a batch of {batch} does not fit {len(windows)} training windows: lower --batch-size")
    if single and (batch if optim.norm_over == "all" else rows) == optim.accumulate:
        raise UserError(
            f"batch norm in {single} cannot learn from one sequence at a time: set --batch-size to 2 or more, and to "
            "twice --accumulate or more, in each process"
        )
