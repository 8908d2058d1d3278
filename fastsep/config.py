"""Every setting of a run, as frozen dataclasses whose docstrings are the command line's help."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fastsep.data import DATASETS, DataConfig
from fastsep.errors import UserError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Switch = Literal["auto", "on", "off"]
Tune = Literal["auto", "off", "again"]


@dataclass(frozen=True)
class ModelConfig:
    """The four networks (encoders E_S and E_T, integrator R, decoder D) and how the codes meet."""

    shape: tuple[int, ...] = (1, 64, 64)
    """Frame: channels and size, (C, H, W) for images or (C, points) for lists of pixels."""
    encoder: Literal["mlp", "dcgan", "vgg", "resnet", "sst"] = "dcgan"
    """Network of both encoders."""
    decoder: Literal["mlp", "dcgan", "vgg", "sst"] = "dcgan"
    """Network of the decoder."""
    skip: bool = False
    """Hand the static encoder's features to the decoder."""
    mixing: Literal["concat", "mul"] = "concat"
    """How S and T meet in the decoder: side by side, or multiplied."""
    no_s: bool = False
    """Ablation: replace S by the constant 1 (needs mixing mul and equal code sizes)."""
    nt_cond: int = 5
    """Conditioning frames n."""
    offset: int = 5
    """n: the first decoded frame is the first conditioning frame. 0: it is the first future frame."""
    code_size_s: int = 128
    """Size of the static code S."""
    code_size_t: int = 20
    """Size of the dynamic code T."""
    enc_hidden_size: int = 64
    """Width of the encoders: hidden units of an MLP, filters of the first stage of a convolutional network."""
    enc_n_layers: int = 3
    """Linear layers of an MLP encoder."""
    dec_hidden_size: int = 64
    """Width of the decoder."""
    dec_n_layers: int = 3
    """Linear layers of an MLP decoder."""
    n_blocks: int = 1
    """Residual blocks of the integrator."""
    res_hidden_size: int = 512
    """Hidden units of a residual block."""
    init: Literal["published", "kaiming"] = "published"
    """How the weights of encoders and decoder start: N(0, 0.02), or Kaiming's uniform distribution."""
    gain_resnet: float = 1.41
    """Gain of the integrator's orthogonal initialisation."""
    last_activation: Literal["sigmoid", "none"] = "sigmoid"
    """Activation of the decoder's output."""

    def __post_init__(self) -> None:
        if self.no_s and (self.mixing != "mul" or self.code_size_s != self.code_size_t):
            raise UserError("no_s needs --mixing mul and equal --code-size-s and --code-size-t")
        if self.mixing == "mul" and self.code_size_s != self.code_size_t:
            raise UserError("mixing mul needs equal code sizes: set --code-size-s and --code-size-t to the same number")
        if self.offset not in (0, self.nt_cond):
            raise UserError(
                f"offset is {self.offset}: set --offset to 0 or to the number of conditioning frames ({self.nt_cond})"
            )
        if self.skip and "mlp" in (self.encoder, self.decoder):
            raise UserError("an MLP has no feature maps to skip with: drop --skip or choose convolutional networks")


@dataclass(frozen=True)
class ObjectiveConfig:
    """The four loss terms (paper, section 3)."""

    nt_pred: int = 10
    """Future frames m that training predicts."""
    lamb_ae: float = 10.0
    """Weight of the auto-encoding term."""
    lamb_s: float = 45.0
    """Weight of the invariance of S."""
    lamb_t: float = 1e-3
    """Weight of the regularisation of T."""
    lamb_pred: float = 45.0
    """Weight of the prediction term."""


@dataclass(frozen=True)
class OptimConfig:
    """Adam and its schedule."""

    lr: float = 4e-4
    """Learning rate; the peak of it with schedule one_cycle."""
    beta1: float = 0.9
    """Decay of Adam's first moment."""
    beta2: float = 0.99
    """Decay of Adam's second moment."""
    clip_norm: float | None = None
    """Norm that a longer gradient is shortened to; none leaves gradients as they are, as published."""
    batch_size: int = 128
    """Sequences a step."""
    epochs: int = 100
    """Passes over the training windows."""
    steps: int | None = None
    """Optimiser steps; overrides epochs."""
    schedule: Literal["constant", "milestones", "one_cycle"] = "constant"
    """Course of the learning rate."""
    milestones: tuple[int, ...] = ()
    """Epochs at which the rate is multiplied by gamma (schedule milestones)."""
    gamma: float = 0.5
    """Factor at each milestone."""

    def __post_init__(self) -> None:
        for name in ("lr", "clip_norm", "batch_size", "epochs", "steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name} is {value}: set --{name.replace('_', '-')} to a number above 0")


@dataclass(frozen=True)
class RunConfig:
    """How and where to run; nothing here changes what is computed, precision apart."""

    out: Path = Path("runs/run")
    """Run directory."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Precision = "auto"
    """Arithmetic of matrix products; auto takes bf16 where the hardware computes it, else fp32 (CPU) or fp16 (GPU)."""
    compile: Switch = "auto"
    """torch.compile of forward and loss; auto is on for GPUs."""
    capture: Switch = "auto"
    """Replay the whole step as one CUDA graph; auto is on for GPUs."""
    tune: Tune = "auto"
    """Time kernels on the GPU and take the fastest: known ones (auto) or anew (again); off is bitwise repeatable."""
    seed: int = 0
    """Seed of weights, batches and windows."""
    log_every: int = 50
    """Steps between rows of the log."""
    checkpoint_every: int = 1000
    """Steps between checkpoints."""
    score: bool = True
    """Score the run on the test set and draw its figures at the end."""


@dataclass(frozen=True)
class Config:
    """One run."""

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)

    @property
    def window(self) -> int:
        """Frames of a training window, n + m."""
        return self.model.nt_cond + self.objective.nt_pred


def to_json(config: Config) -> str:
    """The settings as readable text that ``from_json`` turns back into an equal ``Config``."""
    values = dataclasses.asdict(config)
    values["data"] = {"dataset": config.data.name, **values["data"]}
    return json.dumps(values, indent=2, default=str) + "\n"


def from_json(text: str) -> Config:
    """Rebuild a ``Config``; raises ``UserError`` for settings this version does not know."""
    try:
        values = json.loads(text)
        data = values.pop("data")
        parts = {
            "model": ModelConfig, "objective": ObjectiveConfig, "optim": OptimConfig, "run": RunConfig,
        }  # fmt: skip
        return Config(
            data=_build(DATASETS[data.pop("dataset")], data),
            **{name: _build(cls, values.pop(name)) for name, cls in parts.items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the run's config.json does not fit this version of fastsep ({error}): train again") from None


def _build(cls: type, values: dict[str, Any]) -> Any:
    """Make ``cls`` from JSON values: lists become tuples and paths become ``Path`` again."""
    types = {f.name: str(f.type) for f in dataclasses.fields(cls)}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
        elif value is not None and "Path" in types.get(name, ""):
            values[name] = Path(value)
    return cls(**values)
