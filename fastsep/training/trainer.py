"""The training loop: batches, rows of the log, checkpoints, and what happens when something goes wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from fastsep import distributed, signals
from fastsep.config import Config
from fastsep.drawing.strip import forecast_strip
from fastsep.errors import UserError, causes, first_line, is_memory_problem, warn
from fastsep.machine.compiler import is_compiler_problem
from fastsep.machine.precision import precision_name
from fastsep.runs.checkpoint import (
    Checkpoint,
    NotSavedError,
    last_good,
    load_weights,
    require_place,
    save_checkpoint,
)
from fastsep.runs.data_record import record_data
from fastsep.runs.directory import resume_command
from fastsep.runs.log_file import Row
from fastsep.runs.starts import record_start
from fastsep.training import profiling
from fastsep.training.batches import batches
from fastsep.training.log import Log, Silence
from fastsep.training.pace import Pace
from fastsep.training.preparation import prepare
from fastsep.training.schedule import learning_rate
from fastsep.training.step import TrainStep
from fastsep.training.tuning import tune
from fastsep.training.validation import validate

OnRow = Callable[[Row], None]
"""Another log, of whoever calls."""
_UNSAVED = 3  # checkpoints in a row that cannot be written end a training


class Trainer:
    """A model in training: made from a config, moved by ``fit``.

    Its own ``config`` is that with all that it left to the data settled. A run that is ``resumed`` keeps its networks
    and what its frames are scaled by.
    """

    def __init__(
        self, config: Config, run: Path, show_progress: bool = True, resumed: bool = False, on_row: OnRow | None = None
    ):
        self.world = distributed.current()
        self.run = run
        self.show_progress = show_progress and self.world.is_first
        ready = prepare(config, self.world, self.say, run if resumed else None)
        self.config, self.device = ready.config, ready.device
        self._arithmetic = precision_name(ready.dtype), {"compile": ready.ways.compile, "capture": ready.ways.capture}
        self._on_row = on_row
        self.windows, self.test_windows = ready.windows, ready.test_windows
        self.total_steps, self.steps_per_epoch = ready.pace
        self.model = ready.model
        self.take_step = TrainStep(self.model, self.windows, self.config, ready.dtype, ready.ways, self.world)
        self.done = self._unsaved = 0

    def restore(self, checkpoint: Checkpoint) -> None:
        """Set weights, optimiser and position to those of a checkpoint.

        Raises:
            UserError: it holds weights alone, or what does not belong to this model.
        """
        if checkpoint.state is None:
            raise UserError(f"{checkpoint.path} holds weights only: it can be evaluated, not resumed")
        load_weights(self.model, checkpoint)
        try:
            self.take_step.load_state(checkpoint.state["step"], checkpoint.step)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError):
            raise UserError(
                f"the state in {checkpoint.path} is not that of this model: it can be evaluated, not resumed"
            ) from None
        self.done = checkpoint.step

    def fit(self) -> None:
        """Train to the end of the schedule, with a checkpoint at the end.

        Raises:
            Stopped: a signal asked to stop; the step that was running was finished and saved.
        """
        with signals.held() as request:
            if self.world.is_first:
                require_place(self.run)
                record_data(self.run, self.config.data, self.windows)
                record_start(self.run, self.done, self.device, *self._arithmetic, self.world.size)
            self.world.spread([*self.model.parameters(), *self.model.buffers()])
            try:
                self._fit(request)
            except signals.Stopped as stop:  # asked twice
                note = f"at once; continue from the last checkpoint with {resume_command(self.run)}"
                raise signals.Stopped(stop.signum, note) from None
            except (RuntimeError, MemoryError) as error:
                problem = self._explain(error)
                if problem is None:
                    raise
                raise problem from error
            signum = self.world.vote(request)()
            if signum:
                complete = self.done == self.total_steps
                note = "it was the last one" if complete else f"continue with {resume_command(self.run)}"
                raise signals.Stopped(signum, f"step {self.done} is saved, {note}")

    def _fit(self, request: signals.Request) -> None:
        """The steps that remain, or up to the one that ends after ``request``; the last one taken is saved."""
        run, batch, first = self.config.run, self.config.optim.batch_size, self.world.is_first
        self.model.train()
        tune(self.take_step, run.tune, self.run, self.say)
        log = Log(self.run, self.done, self.total_steps, self.show_progress) if first else Silence()
        profiler = profiling.Profiler(self.run, self.device, self.world.rank) if run.profile else None
        row_step, row_time = self.done, time.perf_counter()
        try:
            pace = Pace(self.total_steps, self.steps_per_epoch)
            for index in batches(self.windows, pace, self.config, self.world, self.done):
                lr = learning_rate(self.done, *pace, self.config.optim)
                asked = self.world.vote(request)
                self.take_step(index, lr)
                stops = asked()
                self.done += 1
                log.advance()
                if profiler:
                    profiler.advance()
                last = self.done == self.total_steps
                saves = last or self.done % run.checkpoint_every == 0
                if stops and not saves:  # without a row or a forecast: who asks may not wait long
                    self._check_finite(self.take_step.read_losses().total)
                    self._save(must=True)
                    break
                if not saves and self.done % run.log_every:
                    continue
                losses = self.take_step.read_losses()  # waits for the device
                self._check_finite(losses.total)
                rate = (self.done - row_step) * batch / (time.perf_counter() - row_time)
                test_mse, strip = self._validate() if saves and first else (None, None)
                row = log.row(self.done, (self.done - 1) // self.steps_per_epoch, lr, losses, rate, test_mse)
                if strip is not None:
                    self._check_finite(test_mse, "validation error")
                    log.images(self.done, strip)
                if saves:
                    self._save(test_mse, must=last or stops)
                if first and self._on_row is not None:
                    self._on_row(row)
                row_step, row_time = self.done, time.perf_counter()
                if saves and stops:
                    break
        finally:
            log.close()
            if profiler:
                self.say(profiler.close())

    def _explain(self, error: Exception) -> UserError | None:
        """What the user can do about an error of PyTorch in a step; None where it is a mistake of this program."""
        reason = first_line(error)
        memory = next(filter(is_memory_problem, causes(error)), None)  # a recording that fails hides why
        if memory is not None:
            reason = first_line(memory)
            return UserError(
                f"not enough memory on {self.device} for steps of {self.config.optim.batch_size} sequences ({reason}): "
                "start anew with a lower --batch-size or a higher --accumulate, or free some and continue with "
                f"{resume_command(self.run)}"
            )
        if is_compiler_problem(error):
            return UserError(
                f"torch.compile failed ({reason}): mend the compiler, or go on without it: "
                f"{resume_command(self.run)} --compile off"
            )
        return None

    def _check_finite(self, value: float, what: str = "loss") -> None:
        if not math.isfinite(value):
            raise UserError(f"the {what} is {value} at step {self.done}; {last_good(self.run)}")

    def _validate(self) -> tuple[float, Tensor]:
        """Mean squared error of the forecast over windows spread across the test set, and a picture of the first."""
        with self.take_step.scored_weights():
            error, *first = validate(self.model, self.test_windows)
        return error, forecast_strip(*first, self.test_windows.mask, self.test_windows.last_row == "north")

    def say(self, line: str) -> None:
        """Print a line where progress is shown, on rank 0."""
        if self.show_progress:
            print(line, flush=True)

    def _save(self, test_mse: float | None = None, must: bool = False) -> None:
        """Write a checkpoint. Unless it ``must`` be, one that cannot be costs a warning, and the next is due soon."""
        if self.world.is_first:
            state = {"step": self.take_step.state()}
            try:
                with self.take_step.scored_weights():
                    save_checkpoint(self.run, self.done, self.model, state, test_mse)
                self._unsaved = 0
            except NotSavedError as error:
                self._unsaved += 1
                if must or self._unsaved == _UNSAVED:
                    raise
                every = self.config.run.checkpoint_every
                again = min((self.done // every + 1) * every, self.total_steps)
                warn(f"{error.problem}; training goes on and tries again at step {again}")
        self.world.barrier()  # it is there for all
