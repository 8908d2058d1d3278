"""The parts of the GPU suite, in order of worth; here are those that run whole programs: tests, trainings, a sweep."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from bench import conv_parts, kernel_parts, model_parts, reproduce
from bench.blockstep import time_block_steps, time_wave_steps
from bench.cluster import check_cluster
from bench.conv_parts import CONVOLUTIONAL
from bench.environment import ROOT
from bench.recorder import Recorder


@dataclass(frozen=True)
class Part:
    """``run`` and the seconds it may take; ``dry`` is off where another part's dry run goes through the same code."""

    limit: float
    run: Callable[[Recorder], None]
    dry: bool = True
    env: tuple[tuple[str, str], ...] = ()
    """Variables of the part's own process."""


def run_part(name: str, results: Path, device: torch.device, dry: bool, limit: float) -> int:
    """Run one part in this process; 0 when complete, 3 when rows were left out for want of time."""
    if dry:
        torch.set_num_threads(min(2, torch.get_num_threads()))
    recorder = Recorder(results, name, device, dry, time.monotonic() + limit)
    PARTS[name].run(recorder)
    return 3 if recorder.left_out else 0


def run_tests(recorder: Recorder) -> None:
    """The project's GPU tests."""

    def make() -> dict[str, Any]:
        tests = ["--collect-only", "tests/bench"] if recorder.dry else ["tests"]
        limit = max(recorder.time_left(), 10)
        command = [sys.executable, "-m", "pytest", "-vv", "-m", "gpu", "-p", "no:cacheprovider", "-rf", *tests]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit)
            output, status = done.stdout, done.returncode
        except subprocess.TimeoutExpired as error:
            output, status = (error.stdout or b"").decode(), "stopped at its limit"
            recorder.left_out += 1
        print(output)
        return {"status": status, **read_tests(output)}

    recorder.note("gpu tests", make)


def read_tests(output: str) -> dict[str, Any]:
    """How many tests passed, failed and were skipped by pytest's ``-vv`` output, and which failed.

    By its summary; where it was cut off before that, by its progress.
    """
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", output)}
    failures = re.findall(r"^(?:FAILED|ERROR) (.+)$", output, re.MULTILINE)
    if not counts:
        ended = re.findall(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", output, re.MULTILINE)
        for _, word in ended:
            counts[word.lower()] = counts.get(word.lower(), 0) + 1
        failures = [name for name, word in ended if word in ("FAILED", "ERROR")]
    return {**counts, "failures": [line[:300] for line in failures[:50]]}


def tune_rollout(recorder: Recorder) -> None:
    """The rollout kernels' own sweep over configurations."""

    def make() -> dict[str, Any]:
        if recorder.dry:
            return {"skipped": "the sweep needs a GPU"}
        out = recorder.path.with_name("rollout_tune.json")
        seconds = max(min(recorder.time_left() - 30, 180), 10)
        options = ["--out", str(out), "--seconds", f"{seconds:.0f}"]
        command = [sys.executable, "-m", "kernels.latent_rollout.tune", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=max(recorder.time_left(), 10))
        print(done.stdout, done.stderr)
        return {"status": done.returncode, "file": out.name, "tail": done.stdout[-3000:]}

    recorder.note("rollout sweep", make)


def trainer(*runs: tuple[str, int]) -> Callable[[Recorder], None]:
    """A part that trains ``(name of a run, seed)`` to the end, one after another, and scores each."""

    def run(recorder: Recorder) -> None:
        for name, seed in runs[:1] if recorder.dry else runs:
            recorder.note(f"{name} seed {seed}", partial(one, recorder, name, seed))

    def one(recorder: Recorder, name: str, seed: int) -> dict[str, Any]:
        place = recorder.path.with_name(f".{name}-seed{seed}")  # one that is stopped goes on from its newest checkpoint
        value = reproduce.reproduce(name, seed, place, recorder.device, small=recorder.dry)
        shutil.rmtree(place)
        return value

    return run


PARTS: dict[str, Part] = {
    "ceilings": Part(40, model_parts.measure_ceilings),
    "tests": Part(600, run_tests),
    "generate": Part(60, model_parts.time_generation),
    "rollout": Part(130, model_parts.time_rollout),
    "cluster": Part(240, check_cluster),
    "blockstep": Part(240, time_block_steps),
    "wave-step": Part(120, time_wave_steps),
    "step": Part(420, model_parts.time_steps),
    "train": Part(150, trainer(("wave100-published", 0), ("wave-published", 0))),
    "train-own": Part(80, trainer(("wave100-onecycle", 0), ("wave-onecycle", 0)), dry=False),
    "train-best": Part(400, trainer(*product(("wave-best", "wave100-best"), range(3))), dry=False),
    "profile": Part(60, model_parts.profile_step),
    "forecast": Part(90, model_parts.time_forecasts),
    "seeds": Part(110, trainer(
        ("wave100-published", 1), ("wave100-published", 2), ("wave100-no-s", 0), ("wave-published", 1),
        ("wave-published", 2), ("wave-no-s", 0), ("wave100-no-s", 1), ("wave100-no-s", 2),
    ), dry=False),
    "scaling": Part(90, model_parts.scale),
    "rest": Part(120, model_parts.time_the_rest),
    "tune": Part(240, tune_rollout),
    "conv-profile": Part(90, conv_parts.profile_steps),
    "conv-step": Part(120, partial(conv_parts.time_steps, ways=(
        "fastsep captured", "fastsep chosen captured", "fastsep untuned captured",
    )), dry=False),
    "conv-choices": Part(60, conv_parts.list_choices),
    "conv-thin": Part(120, kernel_parts.time_thin_layers),
    "conv-norm": Part(60, kernel_parts.time_norms),
    "small-kernels": Part(60, kernel_parts.time_small_kernels),
    "conv-layers": Part(120, conv_parts.time_layers),
    **{f"conv-torch-{preset}": Part(120, partial(conv_parts.time_steps, presets=(preset,), ways=(
        "fastsep compiled captured without kernels",
    )), dry=False, env=(("FASTSEP_KERNELS", "torch"),)) for preset in CONVOLUTIONAL},
    **{f"step-{preset}": Part(240, partial(conv_parts.time_default_step, preset=preset), dry=preset == "mnist")
       for preset in model_parts.ORDER},
    **{f"baseline-{preset}": Part(240, partial(conv_parts.time_steps, presets=(preset,), ways=(
        "reference compiled captured",
    )), dry=False) for preset in model_parts.ORDER},
}  # fmt: skip
"""By name, in order of worth."""
