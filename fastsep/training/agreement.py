"""What must be the same on all ranks before they train together; each check ends all of them with one line."""

from __future__ import annotations

from pathlib import Path

import torch

from fastsep.config import PARTS, Config
from fastsep.data.fingerprint import fingerprint
from fastsep.data.windows import Windows
from fastsep.machine.precision import precision_name
from fastsep.runs.checkpoint import Checkpoint
from fastsep.runs.directory import identity
from fastsep.settings import settings_of
from fastsep.training.ways import Ways
from fastsep.world import World


def same_command(world: World, resumes: bool) -> None:
    """Raise UserError where some ranks were started to go on with a run and others to begin one."""
    world.same(
        resumes,
        lambda rank, first, other: (
            f"rank {rank if other else 0} was started with --resume and rank {0 if other else rank} without: start all "
            "with one command"
        ),
    )


def same_settings(world: World, config: Config) -> None:
    """Raise UserError, with the options' names, where a rank was started with others than rank 0."""

    def text(rank: int, first: Config, other: Config) -> str:
        flags = [
            setting.flag
            for part in PARTS
            for setting in settings_of(type(getattr(first, part)))
            if getattr(getattr(other, part), setting.name, None) != getattr(getattr(first, part), setting.name)
        ]
        return f"rank {rank} was started with another {' and '.join(flags)} than rank 0: start all with one command"

    world.same(config, text)


def same_machine(world: World, device: torch.device, dtype: torch.dtype, ways: Ways) -> None:
    """Raise UserError where ranks do not compute in the same way on the same kind of device."""
    switches = [name for name in ("compile", "capture") if getattr(ways, name)]
    world.same(
        ", ".join([device.type, precision_name(dtype), *switches]),
        lambda rank, first, other: (
            f"rank {rank} runs on {other}; rank 0 on {first}: set --device, --precision, --compile and --capture so "
            "that all can, or leave that machine out"
        ),
    )


def same_data(world: World, config: Config, windows: Windows) -> None:
    """Raise UserError where a rank sees other files than rank 0, or sees them in another order."""
    world.same(
        (fingerprint(config.data), len(windows)),
        lambda rank, first, other: (
            f"rank {rank} sees other data than rank 0 ({other[1]:,} training windows, {first[1]:,} there) in "
            f"{config.data.path}: give all ranks the same files"
        ),
    )
    world.same(
        windows.streamed,
        lambda rank, first, other: (
            f"{config.data.path} fits the memory of rank {0 if other else rank} and not that of rank "
            f"{rank if other else 0}, and both must see it in the same order: free some there"
        ),
    )


def same_run(world: World, run: Path, checkpoint: Checkpoint | None = None) -> None:
    """Raise UserError where a rank does not see the run that rank 0 sees, or another checkpoint of it."""
    world.same(
        (identity(run), checkpoint and checkpoint.step),
        lambda rank, first, other: (
            f"rank {rank} does not see what rank 0 sees in {run}: put the run on a disk that all ranks share"
        ),
    )
