"""Tiny runs to do harm to, and child processes to do it in.

Every attempt is a fork of one process that has imported everything and computed nothing, so it starts within
milliseconds. A run has two kinds of randomness in it: the order and the windows of WaveEq-100, and the videos of
Moving MNIST, which are drawn afresh at every step.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch._dynamo  # which PyTorch's optimisers import, or else each attempt would

from fastsep import entry
from fastsep.config import Config
from fastsep.data.mnist.files import SIDE
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.files import write_bytes
from fastsep.presets import PRESETS
from fastsep.runs.checkpoint import newest_checkpoint
from fastsep.training.loop import resume, train

STEPS = 12
PATIENCE = 120.0
"""Seconds that an attempt may take."""


class End(NamedTuple):
    """How an attempt ended."""

    status: int
    """Exit status; -N for signal N."""
    seconds: float
    output: str


def prepare(place: Path) -> None:
    """Make the data of the runs, and import what they import."""
    import torch.utils.tensorboard

    import fastsep.evaluation  # noqa: F401

    torch.set_num_threads(1)  # a forked child would wait for threads that it does not have
    digits = np.random.default_rng(0).integers(0, 256, (50, SIDE, SIDE), np.uint8)
    for name in ("train", "t10k"):
        write_bytes(place / f"{name}-images-idx3-ubyte", struct.pack(">HBBIII", 0, 8, 3, *digits.shape) + digits.data)
        write_bytes(place / f"{name}-labels-idx1-ubyte", struct.pack(">HBBI", 0, 8, 1, len(digits)) + bytes(50))
    settings = WaveSettings(size=10, frames=130)
    end = attempt(lambda: _quietly(generate, place / "wave", settings, torch.device("cpu")), place)
    if end.status:
        raise RuntimeError(f"no data could be made: {end.output}")


def tiny(kind: str, place: Path, seed: int) -> Config:
    """A run of 12 steps and 4 checkpoints that takes a fraction of a second: ``kind`` is wave100 or mnist.

    ``place`` lies in the directory where ``prepare`` made the data.
    """
    config = PRESETS[kind]()
    narrow = {"enc_hidden_size": 16, "dec_hidden_size": 16, "res_hidden_size": 16}
    if kind == "wave100":
        data, objective = replace(config.data, data=place.parent / "wave" / "wave.h5"), config.objective
    else:
        data = replace(config.data, data=place.parent, test_videos=4, test_frames=16)
        objective = replace(config.objective, nt_pred=2)
        sizes = {"enc_hidden_size": 2, "dec_hidden_size": 2, "code_size_s": 4, "code_size_t": 4}
        narrow |= {**sizes, "nt_cond": 2, "offset": 2}
    return replace(
        config,
        data=data,
        objective=objective,
        model=replace(config.model, **narrow),
        optim=replace(config.optim, batch_size=4, steps=STEPS),
        run=replace(
            config.run, device="cpu", precision="fp32", log_every=2, checkpoint_every=3, score=False, seed=seed
        ),
    )


def go_on(config: Config, run: Path) -> Callable[[], None]:
    """What a user types next: train where there is no run yet, else resume."""
    if (run / "config.json").exists():
        return lambda: resume(run, False)
    return lambda: train(config, run, False)


def evaluate(run: Path, place: Path) -> bool:
    """Evaluate a run directory as it is: whether it has a checkpoint yet. Raises AssertionError where that fails."""
    from fastsep.evaluation import evaluate_run

    end = attempt(lambda: evaluate_run(run, horizon=2, figures=False, progress=False) and None, place)
    early = end.status == 2 and ("holds no checkpoint yet" in end.output or "holds no run" in end.output)
    assert early or end.status == 0, f"{run} cannot be evaluated: {end.output}"
    return not early


def is_same(run: Path, other: Path) -> bool:
    """Whether the newest checkpoints are of the same step, with the same weights and moments bit by bit."""
    one, two = (newest_checkpoint(path) for path in (run, other))
    return one.step == two.step and _equal(one.weights, two.weights) and _equal(one.state, two.state)


def attempt(work: Callable[[], None], place: Path, after: float | None = None, signum: int = signal.SIGKILL) -> End:
    """Run ``work`` in a child as a command line would; ``after`` so many seconds send it a signal.

    Raises:
        TimeoutError: it does not end.
    """
    output = place / "output.txt"
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_child(work, output)
    sent = after is None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        passed = time.monotonic() - begin
        if done:
            return End(os.waitstatus_to_exitcode(status), passed, output.read_text(errors="replace"))
        if not sent and passed >= after:
            os.kill(child, signum)
            sent = True
        if passed > PATIENCE:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"an attempt did not end: {output.read_text(errors='replace')}")
        time.sleep(0.0005)


def _be_child(work: Callable[[], None], output: Path) -> None:
    """Never returns."""
    status = 1
    torch.set_num_threads(1)  # it makes its thread pool anew after a fork, which two threads may not do at once
    try:
        descriptor = os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        entry.run(work)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _quietly(call: Callable[..., object], *values: object) -> None:
    call(*values)


def _equal(one: object, two: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(_equal, one, two))
    return one == two
