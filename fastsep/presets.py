"""The published settings, one function a preset (paper, appendix; the authors' commands), and those for other data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastsep.config import Config, ModelConfig, ObjectiveConfig, OptimConfig, RunConfig
from fastsep.data import DATASETS, DataConfig
from fastsep.data.chairs.settings import Chairs
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.sst.settings import SST
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.data.wave.settings import Wave, Wave100
from fastsep.errors import UserError
from fastsep.model_config import LEFT_OPEN


def _into(name: str) -> RunConfig:
    return RunConfig(out=Path("runs") / name)


def wave() -> Config:
    """Wave equation on a 64x64 grid, published settings on all windows (--windows published: the paper's)."""
    return Config(
        run=_into("wave"),
        data=Wave(),
        model=ModelConfig(
            shape=(1, 64, 64), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=32, code_size_t=32,
            enc_hidden_size=1200, dec_hidden_size=1200, dec_n_layers=4, n_blocks=3, gain_resnet=0.71,
        ),
        objective=ObjectiveConfig(nt_pred=20, lamb_ae=1.0),
        optim=OptimConfig(epochs=250),
    )  # fmt: skip


def wave100() -> Config:
    """Wave equation seen at 100 pixels, published settings on all windows (--windows published: the paper's)."""
    return Config(
        run=_into("wave100"),
        data=Wave100(),
        model=ModelConfig(
            shape=(1, 100), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=32, code_size_t=32,
            enc_hidden_size=2400, dec_hidden_size=150, dec_n_layers=3, n_blocks=3, gain_resnet=0.71,
        ),
        objective=ObjectiveConfig(nt_pred=20, lamb_ae=1.0),
        optim=OptimConfig(epochs=250),
    )  # fmt: skip


def wave_onecycle() -> Config:
    """Wave equation with a one-cycle rate over all windows: better scores in fewer steps."""
    return _one_cycle(wave(), "wave_onecycle", steps=6000)


def wave100_onecycle() -> Config:
    """Wave equation at 100 pixels with a one-cycle rate, Kaiming initialisation and clipping: minutes on a CPU."""
    config = _one_cycle(wave100(), "wave100_onecycle", steps=1500)
    # Gradients grow a hundredfold within a few steps near the peak of the rate, and undo hundreds of steps.
    optim = replace(config.optim, clip_norm=0.1)
    return replace(config, model=replace(config.model, init="kaiming"), optim=optim)


def wave_best() -> Config:
    """Wave equation with the schedule of wave100-best; hours on a CPU."""
    return _best(wave_onecycle(), "wave_best")


def wave100_best() -> Config:
    """Wave equation at 100 pixels for the lowest error: a long one-cycle, less weight on T; an hour or two on a CPU."""
    return _best(wave100_onecycle(), "wave100_best")


def _best(config: Config, name: str) -> Config:
    # What bench.schedules found: a smaller weight of T's code loses nothing and gains a third; averages gain nothing.
    optim = replace(config.optim, steps=20_000, clip_norm=0.1)
    objective, model = replace(config.objective, lamb_t=1e-4), replace(config.model, init="kaiming")
    return replace(config, run=_into(name), model=model, objective=objective, optim=optim)


def _one_cycle(config: Config, name: str, steps: int) -> Config:
    return replace(config, run=_into(name), optim=replace(config.optim, lr=1e-3, schedule="one_cycle", steps=steps))


def mnist() -> Config:
    """Moving MNIST, two digits, published settings."""
    return Config(
        run=_into("mnist"),
        data=MovingMNIST(),
        optim=OptimConfig(
            epochs=800, beta1=0.5, schedule="milestones", milestones=(300, 400, 500, 600, 700), gamma=0.5
        ),
    )


def chairs() -> Config:
    """Rotating 3D Warehouse chairs, published settings."""
    return Config(
        run=_into("chairs"),
        data=Chairs(),
        model=ModelConfig(shape=(3, 64, 64), encoder="resnet", code_size_t=10, gain_resnet=0.71),
        objective=ObjectiveConfig(lamb_ae=1.0, lamb_s=1.0),
        optim=OptimConfig(epochs=120),
    )


def taxibj() -> Config:
    """Traffic flow of Beijing, published settings."""
    return Config(
        run=_into("taxibj"),
        data=TaxiBJ(),
        model=ModelConfig(
            shape=(2, 32, 32), encoder="vgg", decoder="vgg", last_activation="none", nt_cond=4, offset=4,
            gain_resnet=0.71,
        ),
        objective=ObjectiveConfig(nt_pred=4, lamb_ae=45.0, lamb_s=1e-4),
        optim=OptimConfig(
            lr=4e-5, batch_size=100, epochs=550, schedule="milestones", milestones=(250, 300, 350, 400, 450), gamma=0.2
        ),
    )  # fmt: skip


def sst() -> Config:
    """Sea surface temperature, published settings with skip connections."""
    return Config(
        run=_into("sst"),
        data=SST(),
        model=ModelConfig(
            shape=(1, 64, 64), encoder="sst", decoder="sst", skip=True, last_activation="none", nt_cond=4, offset=0,
            code_size_s=196, code_size_t=64, n_blocks=2, gain_resnet=0.71,
        ),
        objective=ObjectiveConfig(nt_pred=6, lamb_ae=1.0, lamb_s=100.0, lamb_t=5e-6),
        optim=OptimConfig(epochs=30),
    )  # fmt: skip


def suited(kind: type[DataConfig]) -> Config:
    """Settings for data that nobody published settings for: they follow the frames and the number of windows.

    Weights of the loss are the published defaults. The first decoded frame is the first future one: made data are
    forecast a little better so than with the conditioning frames decoded, too, and a step has fewer frames to decode.
    """
    return Config(
        run=_into(kind.name),
        data=kind(),
        model=ModelConfig(**{**LEFT_OPEN, "offset": 0}),
        optim=OptimConfig(lr=1e-3, schedule="one_cycle", clip_norm=1.0, batch_size=None, epochs=None, steps=None),
    )


PRESETS: dict[str, Callable[[], Config]] = {
    preset.__name__: preset
    for preset in (
        wave, wave_onecycle, wave_best, wave100, wave100_onecycle, wave100_best, mnist, chairs, taxibj, sst,
    )
}  # fmt: skip
"""The published ones, and other schedules for the same networks."""


def preset(name: str, **settings: Any) -> Config:
    """A preset by its name, as on the command line, with settings by theirs: ``preset("wave100-onecycle", seed=2)``.

    Raises:
        UserError: a preset or a setting that there is not, or a value that it does not take.
    """
    known = all_presets()
    found = known.get(name.replace("-", "_"))
    if found is None:
        raise UserError(f"there is no preset {name}, but {', '.join(known)}")
    return found[0].having(**settings)


def all_presets() -> dict[str, tuple[Config, str]]:
    """Every preset with a line about it; data sets without a published one have that which suits their frames."""
    known = {name: (preset(), (preset.__doc__ or "").strip()) for name, preset in PRESETS.items()}
    others = {name: kind for name, kind in DATASETS.items() if name not in PRESETS}
    return known | {name: (suited(kind), _first_line(kind)) for name, kind in others.items()}


def _first_line(kind: type[DataConfig]) -> str:
    return (kind.__doc__ or kind.name).strip().splitlines()[0]
