"""Every setting of a run, as frozen dataclasses whose docstrings are the command line's help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from fastsep.data import DataConfig
from fastsep.errors import UserError
from fastsep.model_config import FrameCount, ModelConfig, Positive
from fastsep.settings import AT_RESUME, LARGEST_FLOAT, Count, Device, Range, Settings, settings_of

MAX_STEPS = 99_999_999
"""As many as the eight digits in a checkpoint's name count."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Switch = Literal["auto", "on", "off"]
Tune = Literal["auto", "off", "again"]
Weight = Annotated[float, Range(0, LARGEST_FLOAT)]
Decay = Annotated[float, Range(0, 0.999999)]


@dataclass(frozen=True)
class ObjectiveConfig(Settings):
    """The four loss terms (paper, section 3)."""

    nt_pred: FrameCount = 10
    """Future frames m that training predicts and its windows hold."""
    lamb_ae: Weight = 10.0
    """Weight of the auto-encoding term."""
    lamb_s: Weight = 45.0
    """Weight of the invariance of S."""
    lamb_t: Weight = 1e-3
    """Weight of the regularisation of T (0 with no_s)."""
    lamb_pred: Weight = 45.0
    """Weight of the prediction term."""


@dataclass(frozen=True)
class OptimConfig(Settings):
    """Adam and its schedule."""

    lr: Positive = 4e-4
    """Learning rate; the peak of it with schedule one_cycle."""
    beta1: Decay = 0.9
    """Decay of Adam's first moment."""
    beta2: Decay = 0.99
    """Decay of Adam's second moment."""
    clip_norm: Positive | None = None
    """Norm that a longer gradient is shortened to; none leaves gradients as they are, as published."""
    ema: Decay | None = None
    """Decay of an average of the weights over the steps, which is validated, scored and loaded in place of the last
    weights; none keeps no average. It climbs as (1 + t) / (10 + t) with step t, up to this value."""
    batch_size: Annotated[int | None, Range(1, 10_000_000)] = 128
    """Sequences a step, over all processes; none takes what suits memory and the number of windows, at most 128."""
    accumulate: Annotated[int, Range(1, 10_000_000)] = 1
    """Micro-batches that a step's sequences are split into: less memory, the same gradient (each micro-batch has its
    own batch-norm statistics, though)."""
    norm_over: Literal["rank", "all"] = "rank"
    """What batch norm takes statistics of where several processes train: each one's own rows of a batch, which is
    faster, or the whole batch, which gives what one process would."""
    epochs: Annotated[int | None, Range(1, MAX_STEPS), AT_RESUME] = 100
    """Passes over the training windows, each of as many whole batches as there are."""
    steps: Annotated[int | None, Range(1, MAX_STEPS), AT_RESUME] = None
    """Optimiser steps; overrides epochs. Where both are none: 25 passes (3 for convolutional networks on
    a CPU), no less than 1,500 steps, at most 20,000."""
    schedule: Literal["constant", "milestones", "one_cycle"] = "constant"
    """Course of the learning rate."""
    warm_up: Annotated[float, Range(0, 1)] = 0.3
    """Share of the steps in which the rate climbs from lr/25 to lr (schedule one_cycle)."""
    final_rate: Annotated[float, Range(0, 1)] = 4e-6
    """Rate of the last step as a share of lr (schedule one_cycle)."""
    milestones: Annotated[tuple[int, ...], Range(1, MAX_STEPS)] = ()
    """Epochs at which the rate is multiplied by gamma (schedule milestones)."""
    gamma: Positive = 0.5
    """Factor at each milestone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size is not None and self.batch_size % self.accumulate:
            sizes = _nearest(self.batch_size, 2 * self.batch_size + self.accumulate, lambda n: n % self.accumulate == 0)
            parts = _nearest(self.accumulate, self.batch_size, lambda n: self.batch_size % n == 0)
            raise UserError(
                f"{self.batch_size} sequences cannot be split into {self.accumulate} equal micro-batches: set "
                f"--batch-size to {sizes}, or --accumulate to {parts}"
            )


@dataclass(frozen=True)
class RunConfig(Settings):
    """How and where to run; nothing here changes what is computed, precision and seed apart."""

    out: Path = Path("runs/run")
    """Run directory."""
    device: Annotated[Device, AT_RESUME] = "auto"
    """auto (the GPU where there is one), cpu, cuda or cuda:N."""
    precision: Annotated[Precision, AT_RESUME] = "auto"
    """Arithmetic of matrix products; auto takes bf16 where the hardware computes it, else fp32 (CPU) or fp16 (GPU)."""
    compile: Annotated[Switch, AT_RESUME] = "auto"
    """torch.compile of forward and loss; auto is on for GPUs."""
    capture: Annotated[Switch, AT_RESUME] = "auto"
    """Replay the whole step as one CUDA graph; auto is on for GPUs."""
    tune: Annotated[Tune, AT_RESUME] = "auto"
    """Time kernels on the GPU and take the fastest: known times (auto) or new ones (again); off takes defaults.
    A run keeps what it has chosen."""
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    """Seed of weights, batches and windows."""
    log_every: Annotated[Count, AT_RESUME] = 50
    """Steps between rows of the log."""
    checkpoint_every: Annotated[Count, AT_RESUME] = 1000
    """Steps between checkpoints."""
    auto_resume: Annotated[bool, AT_RESUME] = False
    """Go on with the run in out if there is one, and begin it otherwise; a complete one is scored if it was not. For
    jobs that are started again by the same command."""
    profile: Annotated[bool, AT_RESUME] = False
    """Trace some steps, the eleventh to the fifteenth, into the run's profile/: largest operations, communication, idle
    time."""
    timeout: Annotated[Count, AT_RESUME] = 600
    """Seconds that one of several processes waits for another, even one that fetches data, before it gives up."""
    score: Annotated[bool, AT_RESUME] = True
    """At the end a score on the test set, and figures; none with --no-score."""


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """How to score a run."""

    horizon: Annotated[int | None, Range(1, 1_000_000)] = None
    """Frames to forecast [the longest published horizon that the data allow]."""
    swap: bool = False
    """Also score forecasts with the content of one sequence and the motion of another."""
    device: Device = "auto"
    """auto (the GPU where there is one), cpu, cuda or cuda:N."""
    batch_size: Count | None = None
    """Sequences forecast at once [what fits memory]."""
    data: Path | None = None
    """Where the data lie, if not where the run's settings say."""
    whole: bool = False
    """Score all frames of --data, which were held back from training, instead of the last part of them; without the
    mean frame, for that of the training part is not at hand."""
    best: bool = False
    """Take the checkpoint with the least error in validation instead of the newest. Validation sees test windows: what
    it picks scores better than it would on others."""
    out: Path | None = None
    """Directory for metrics.json and figures [the run's own]."""
    figures: bool = True
    """Figures and an animation; none with --no-figures."""


@dataclass(frozen=True)
class Config:
    """One run; what newcomers look for comes first in the help."""

    data: DataConfig
    run: RunConfig = field(default_factory=RunConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        for name, kind in PARTS.items():
            part = getattr(self, name)
            if not isinstance(part, kind):
                raise UserError(f"{name} is {part!r:.100}: give a {kind.__name__}")

    @property
    def window(self) -> int:
        """Frames of a training window, n + m."""
        return self.model.nt_cond + self.objective.nt_pred

    def having(self, **settings: Any) -> Config:
        """The same with other settings, each by its name alone, as on the command line: ``having(lr=1e-3, seed=2)``.

        Raises:
            UserError: one that there is not, or a value that it does not take.
        """
        if settings.get("epochs") is not None and settings.get("steps") is not None:
            raise UserError("steps and epochs both say how long to train: give one of them")
        if settings.get("epochs") is not None:  # it holds where it is given, though there is a number of steps
            settings = {"steps": None, **settings}
        parts, left = {name: getattr(self, name) for name in PARTS}, dict(settings)
        for name, part in parts.items():
            mine = {each.name: left.pop(each.name) for each in settings_of(type(part)) if each.name in left}
            parts[name] = replace(part, **mine)
        if left:
            raise UserError(f"there is no setting {', '.join(left)}: python -m fastsep.train PRESET --help lists them")
        model = parts["model"]
        if model.encoder == "auto" != self.model.encoder:  # what suits a preset's network may not suit another
            parts["model"] = model.reopened(set(settings))
        return replace(self, **parts)


def _nearest(value: int, most: int, fits: Callable[[int], bool]) -> str:
    """The numbers next below and above ``value`` that fit, from 1 to ``most``, in words."""
    below = next((n for n in range(min(value - 1, most), 0, -1) if fits(n)), None)
    above = next((n for n in range(value + 1, most + 1) if fits(n)), None)
    return " or ".join(str(n) for n in (below, above) if n is not None)


PARTS: dict[str, type[Settings]] = {
    "data": DataConfig, "model": ModelConfig, "objective": ObjectiveConfig, "optim": OptimConfig, "run": RunConfig,
}  # fmt: skip


def check_resumable(before: Config, after: Config) -> None:
    """Raise UserError, with the options' names, where ``after`` would compute something else than ``before``."""
    if type(before.data) is not type(after.data):
        raise UserError(f"the run was trained on {before.data.name}, not on {after.data.name}: start a new run")
    changed = []
    for part in PARTS:
        old, new = getattr(before, part), getattr(after, part)
        settings = (setting for setting in settings_of(type(old)) if not setting.at_resume)
        changed += [setting.flag for setting in settings if getattr(old, setting.name) != getattr(new, setting.name)]
    if changed:
        raise UserError(
            f"a run that goes on keeps its {' and '.join(changed)}: leave out what differs, or start a new run"
        )


def started_again(before: Config, given: Config) -> Config:
    """The settings that a run goes on with when the command that began it is given again.

    Args:
        before: the run's settings.
        given: those of the command. What they leave to the data is as it was settled then, and a run that was moved to
            other data, or extended, stays so.

    Raises:
        UserError: they would compute something else.
    """
    data, model, optim = given.data, given.model, given.optim
    settled = [*model.left_open, *(["skip"] if model.encoder == "auto" and not model.skip else [])]
    if type(before.data) is type(given.data):
        model = replace(model, **{name: getattr(before.model, name) for name in settled})
        data = data if data.data is not None else replace(data, data=before.data.data)
    if optim.batch_size is None:
        optim = replace(optim, batch_size=before.optim.batch_size)
    if not _is_longer(optim, before.optim):
        optim = replace(optim, steps=before.optim.steps, epochs=before.optim.epochs)
    after = replace(given, data=data, model=model, optim=optim)
    check_resumable(before, after)
    return after


def _is_longer(optim: OptimConfig, before: OptimConfig) -> bool:
    """Whether ``optim`` trains longer in the same measure: a run that was extended is not shortened."""
    if before.steps is None:
        return optim.steps is None and (optim.epochs or 0) > (before.epochs or 0)
    return (optim.steps or 0) > before.steps


def at_resume() -> list[str]:
    """The options of how and where to run, which resuming takes."""
    return [setting.flag for kind in PARTS.values() for setting in settings_of(kind) if setting.at_resume]
