"""What ranks run in the tests of training with several processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from step_cases import EAGER

from fastsep import distributed, presets, room
from fastsep.config import Config
from fastsep.data import residency
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.data.wave.settings import Wave100
from fastsep.data.windows import TensorWindows
from fastsep.errors import UserError
from fastsep.evaluation import evaluate_run
from fastsep.model import SeparableModel
from fastsep.training import agreement
from fastsep.training.loop import resume, train
from fastsep.training.step import TrainStep
from fastsep.training.ways import Ways


def wave100(data: Path | None = None, **optim) -> Config:
    """The preset, narrow and with little data."""
    config = presets.wave100()
    return replace(
        config,
        data=Wave100(data=data, size=10, frames=80),
        model=replace(config.model, enc_hidden_size=24, dec_hidden_size=16, res_hidden_size=32),
        optim=replace(config.optim, **{"batch_size": 8, "steps": 12, "epochs": 1} | optim),
        run=replace(config.run, precision="fp32", device="cpu", log_every=4, checkpoint_every=4),
    )


def mnist(**optim) -> Config:
    """The preset, narrow, with bundled digits."""
    config = presets.mnist()
    return replace(
        config,
        data=MovingMNIST(digits="sklearn", videos_per_epoch=64, test_videos=4, test_frames=20),
        model=replace(config.model, enc_hidden_size=4, dec_hidden_size=4, res_hidden_size=16),
        optim=replace(config.optim, **{"batch_size": 8, "steps": 4} | optim),
        run=replace(config.run, precision="fp32", device="cpu", log_every=4, checkpoint_every=4),
    )


def losses_of_steps(
    config: Config, steps: int, device: str = "cpu", ways: Ways = EAGER
) -> tuple[list[list[float]], list[torch.Tensor]]:
    """The loss terms of each step in float64, and the weights after the last."""
    world = distributed.current()
    torch.manual_seed(0)
    model = SeparableModel(config.model).double().to(device).lay_out()
    windows = config.data.open("train", config.model.nt_cond, config.objective.nt_pred, torch.device(device))
    if isinstance(windows, TensorWindows):
        windows.frames = windows.frames.double()
    else:
        draw = windows.batch
        windows.batch = lambda index: draw(index).double()
    windows.share = world.rank, world.size
    step = TrainStep(model, windows, config, torch.float64, ways, world)
    batch, terms = config.optim.batch_size, []
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        index = torch.randint(len(windows), (batch,), generator=generator).to(device)
        step(world.rows(index, batch), config.optim.lr)
        terms.append(list(step.read_losses()))
    assert bool(step._replay and step._replay.recorded) == (ways.capture and steps > 3)
    return terms, [parameter.detach().clone() for parameter in model.parameters()]


def run_training(config: Config, run: Path, go_on: bool = False) -> None:
    """A training from its start, or a run's rest."""
    if go_on:
        resume(run, False, config)
    else:
        train(replace(config, run=replace(config.run, out=run)), run, False)


def score(run: Path, batch_size: int, swap: bool = False) -> dict[str, Any]:
    """The scores of a run, without what differs from time to time."""
    result = evaluate_run(run, device="cpu", batch_size=batch_size, swap=swap, figures=False, progress=False)
    return {name: value for name, value in result.items() if name != "seconds"}


def score_with_memory_of(run: Path, free: list[int], horizons: list[int | None]) -> dict[str, Any]:
    """``score`` where each rank finds so many bytes free, and was asked for its own horizon."""
    rank = distributed.current().rank
    room.free_bytes = lambda device: free[rank]
    return evaluate_run(run, horizon=horizons[rank], device="cpu", figures=False, progress=False)["curves"]


def is_quick_to_start() -> bool:
    """Whether what takes longest to import was there before this rank was."""
    return "torch._dynamo" in sys.modules


def fits_while_others_hold(size: int, free: int) -> bool:
    """Whether ``size`` bytes fit, where those of the ranks before have been taken off ``free`` ones by then."""
    world = distributed.current()
    residency.host_free_bytes = lambda: free
    with residency.shared_by(world), world.one_first():
        residency.host_free_bytes = lambda: free - world.rank * size
        return residency.fits(size, torch.device("cpu"))


def make_other_waves(folder: Path) -> Path:
    """A file of waves, for which each rank was given a seed of its own."""
    return make_waves(folder, WaveSettings(4, 10, seed=distributed.current().rank))


def start_differently() -> None:
    """Rank 1 was told to go on with a run."""
    world = distributed.current()
    agreement.same_command(world, resumes=world.rank == 1)


def start_on_another_machine() -> None:
    """Rank 1 has bf16 and takes it."""
    world = distributed.current()
    dtype = torch.bfloat16 if world.rank else torch.float32
    agreement.same_machine(world, torch.device("cpu"), dtype, EAGER)


def fail(how: str, config: Config, run: Path) -> None:
    """A training in which something befalls rank 1, mostly in its fifth step."""
    rank = distributed.current().rank
    config = replace(config, run=replace(config.run, out=run))
    original = TrainStep.__call__

    def befallen(self, *args):
        if self.done == 4 and rank == 1:
            if how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            elif how == "raises":
                raise UserError("rank 1 has had enough")
            elif how == "cannot reach a path":
                (Path("/") / ("x" * 300)).stat()
            elif how == "hangs":
                time.sleep(15)  # three times as long as the others have patience
            elif how == "is asked to stop":
                signal.raise_signal(signal.SIGTERM)
        original(self, *args)

    TrainStep.__call__ = befallen
    if rank == 1 and how == "has other settings":
        config = replace(config, optim=replace(config.optim, lr=1.0, clip_norm=2.0))
    if rank == 1 and how == "has other data":
        agreement.fingerprint = lambda data: "another"
    if rank == 1 and how == "sees no run":
        agreement.identity = lambda run: None
    train(config, run, False)


def wait_for_the_later_of_two() -> None:
    """Rank 1 takes no part in two exchanges, of which the one begun first is the first to time out."""
    if distributed.current().rank == 1:
        time.sleep(8)
        return
    begun = []
    for _ in range(2):
        begun.append(dist.all_reduce(torch.zeros(1), async_op=True))
        time.sleep(1.0)
    begun[-1].wait()


def make_waves(folder: Path, settings: WaveSettings) -> Path:
    """A file of waves."""
    return generate(folder, settings, torch.device("cpu"))
