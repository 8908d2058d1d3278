"""Before the first step on a GPU: which kernels run, measured there and written into the run as ``choices.json``.

Of several processes the first one measures; all run what it chose.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fastsep.config import Tune
from fastsep.errors import UserError
from fastsep.files import write_problem, write_text
from fastsep.training.step import TrainStep
from fastsep.training.ways import cudnn_benchmark
from kernels import choose
from kernels.choose import Case, Choice, cache

Announce = Callable[[str], None]


def tune(take_step: TrainStep, mode: Tune, run: Path | None = None, announce: Announce = lambda text: None) -> None:
    """On a GPU choose for every case of a step; on a CPU, or with ``mode`` off, the ops' own defaults hold.

    Args:
        announce: hears what takes a while.

    Raises:
        UserError: the choices cannot be written into ``run``.
    """
    if take_step.device.type != "cuda" or mode == "off":
        choose.use({})
        return
    choices = settle(take_step, mode == "again", run, announce) if take_step.world.is_first else {}
    choose.use(take_step.world.of_first({case: choice.use for case, choice in choices.items()}))


def settle(
    take_step: TrainStep, again: bool, run: Path | None, announce: Announce = lambda text: None
) -> dict[Case, Choice]:
    """Choose for every case of a step, put the choices in force, write them into ``run`` and return them.

    A run that has choices of this machine keeps them: it goes on computing what it computed.

    Raises:
        UserError: the choices cannot be written, or a kernel broke the GPU's context.
    """
    path = run / "choices.json" if run else None
    with cudnn_benchmark(take_step.benchmark):  # the library is timed as it will run
        known = _read(path, cache.machine(take_step.device)) if path else {}
        choose.use({})  # those of an earlier training in this process would keep cases from being asked for
        try:
            choices = choose.decide(take_step.cases(), take_step.device, known, again, announce)
        except choose.BrokenDeviceError as error:
            kept = cache.path_for(cache.machine(take_step.device)) is not None
            remedy = "start again, it is left out from now on" if kept else "start again with --tune off"
            raise UserError(f"{error}: {remedy}") from None
        if path:
            _write(path, take_step, {case.name: choice.to_json() for case, choice in choices.items()})
    if take_step.device.type == "cuda":
        torch.cuda.empty_cache()
    choose.use({case: choice.use for case, choice in choices.items()})
    return choices


def _read(path: Path, machine: dict[str, str]) -> dict[str, Any]:
    """The choices of an earlier part of the run; none, with a warning, where they are another machine's or damaged."""
    try:
        value = json.loads(path.read_text())
        if value["machine"] != machine:
            raise ValueError("they were made on another machine or with other versions")
        return {name: cache.check(choice) for name, choice in value["choices"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(f"the choices in {path} are not used ({error}): they are made anew", stacklevel=3)
        return {}


def _write(path: Path, take_step: TrainStep, choices: dict[str, Any]) -> None:
    value = {"machine": cache.machine(take_step.device), "cudnn_benchmark": take_step.benchmark, "choices": choices}
    try:
        write_text(path, json.dumps(value, indent=1) + "\n")
    except OSError as error:
        raise write_problem(path, error, "choose another --out") from None
