"""A training in its run directory: from the start, or from where it stopped, to the end of its schedule."""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from fastsep import distributed, signals
from fastsep.config import Config, check_resumable, started_again
from fastsep.errors import UserError, warn
from fastsep.runs.checkpoint import find_checkpoint
from fastsep.runs.directory import (
    check_new,
    checkpoint_folders,
    create_run,
    identity,
    load_config,
    training_lock,
    update_config,
)
from fastsep.runs.log_file import read_log
from fastsep.training.agreement import same_run
from fastsep.training.trainer import OnRow, Trainer
from fastsep.world import World


def train(
    config: Config, run: Path | str | None = None, show_progress: bool = True, on_row: OnRow | None = None
) -> Trainer:
    """Train from the start into the new run directory ``run``; with ``auto_resume``, go on with the run that is there.

    Args:
        run: by default the one that ``config`` names.
        on_row: called with each row of the log, its columns and numbers, once what is due then is saved; what it raises
            ends the training.

    Returns:
        The trainer, with its model.

    Raises:
        UserError: missing data, an unwritable directory, a device that is not there, a loss that is not finite.
    """
    run = Path(run or config.run.out)
    world = distributed.current()
    if world.of_first(_is_ours(run, world)):  # torchrun starts its processes anew after a failure
        return resume(run, show_progress, on_row=on_row)
    started = world.of_first((run / "config.json").exists() and bool(checkpoint_folders(run)))
    if config.run.auto_resume and started:
        config = started_again(load_config(run), replace(config, run=replace(config.run, out=run)))
        return resume(run, show_progress, config, on_row, again=True)
    if world.is_first:
        check_new(run)  # not only after minutes of preparing data
    trainer = Trainer(config, run, show_progress, on_row=on_row)
    with signals.held(), _alone_in(run, world, make=True):  # a signal now would leave a run without a checkpoint
        if world.is_first:
            if config.run.auto_resume:
                _warn_of_lost_steps(run)
            create_run(run, trainer.config, trainer.windows.scaling, world.agents)
        world.barrier()
        same_run(world, run)
        trainer.fit()
    return trainer


def resume(
    run: Path | str,
    show_progress: bool = True,
    config: Config | None = None,
    on_row: OnRow | None = None,
    again: bool = False,
) -> Trainer:
    """Continue a run from its newest whole checkpoint to the end of its schedule; from the start if it has none yet.

    Args:
        config: the run's settings with others of how and where to run; the run keeps them.
        on_row: as in ``train``.
        again: a run that is complete is no error.

    Returns:
        As ``train``.

    Raises:
        UserError: no run, one that is complete, is trained by another process or has no checkpoint that is whole;
            settings that would compute something else.
    """
    run = Path(run)
    before = load_config(run, to_train=True)
    config = config or before
    check_resumable(before, config)
    world = distributed.current()
    with _alone_in(run, world):
        trainer = Trainer(config, run, show_progress, resumed=True, on_row=on_row)
        checkpoint = find_checkpoint(run)
        same_run(world, run, checkpoint)
        if checkpoint is not None:
            trainer.restore(checkpoint)
        elif world.is_first:
            _warn_of_lost_steps(run)
        if trainer.done >= trainer.total_steps:
            if world.restarts or again:  # a rank failed in what comes after training
                # Where its data are, to be scored; it is as long as it was.
                _keep(run, before, replace(trainer.config, optim=before.optim), world)
                trainer.say(f"{run} is complete ({trainer.done:,} steps; extend it with --steps N)")
                return trainer
            raise UserError(_nothing_left(run, trainer, before))
        _keep(run, before, trainer.config, world)
        if trainer.done:
            optim = before.optim
            follows = optim.schedule == "one_cycle" and (optim.steps, optim.epochs) != (
                config.optim.steps,
                config.optim.epochs,
            )
            rate = ", at the rates of a cycle of that length from here on" if follows else ""
            trainer.say(f"{run} goes on after step {trainer.done:,} of {trainer.total_steps:,}{rate}")
        trainer.fit()
    return trainer


def _nothing_left(run: Path, trainer: Trainer, before: Config) -> str:
    """What to say of a run that has come as far as its settings go."""
    steps, evaluate = trainer.done, f"evaluate it with python -m fastsep.evaluate {shlex.quote(str(run))}"
    total = before.optim.steps or (before.optim.epochs or 0) * trainer.steps_per_epoch
    if total > steps:
        return f"{run} has come to step {steps:,} of {total:,} already: leave out --steps and --epochs, or give more"
    return f"{run} is complete ({steps} steps): {evaluate}, or extend it with --steps N, more than {steps}"


def _keep(run: Path, before: Config, config: Config, world: World) -> None:
    if config != before and world.is_first:
        update_config(run, config)


def _warn_of_lost_steps(run: Path) -> None:
    """Say of a run without a checkpoint of its own how far it had come by its log."""
    rows = read_log(run) if (run / "log.csv").exists() else []
    if rows:
        others = "only another run's" if checkpoint_folders(run) else "no"
        warn(f"{run} has a log to step {rows[-1]['step']:.0f} and {others} checkpoints: it begins at step 0 again")


def _is_ours(run: Path, world: World) -> bool:
    """Whether the torchrun that started this process has started the run in ``run``, and come to its settings."""
    known = identity(run)
    return known is not None and not world.agents.isdisjoint(known.launchers) and (run / "config.json").exists()


def _alone_in(run: Path, world: World, make: bool = False) -> AbstractContextManager[None]:
    """The lock of the run, held by rank 0 for all."""
    return training_lock(run, make) if world.is_first else nullcontext()
