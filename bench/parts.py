"""The parts of the GPU suite, in order of worth, and what each of them measures."""

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

from bench import conv_parts, kernel_parts, reproduce, scaling, subjects, subjects_data
from bench.blockstep import time_block_steps, time_wave_steps
from bench.cluster import check_cluster
from bench.conv_parts import CONVOLUTIONAL, profile, sizes
from bench.environment import ROOT, ceilings
from bench.recorder import Recorder
from bench.rows import Row
from fastsep.presets import PRESETS

ORDER = ("wave", "wave100", "mnist", "taxibj", "chairs", "sst")
STEP_WAYS = (
    (("reference", "fp32"), ("reference", "bf16"), ("fastsep", "bf16"), ("fastsep captured", "bf16"),
     ("fastsep captured", "fp32")),
    (("fastsep compiled captured", "bf16"), ("reference compiled captured", "bf16")),
    (("fastsep compiled", "bf16"), ("reference compiled", "fp32")),
)  # fmt: skip
"""In order of worth: what compiles takes a minute a row."""
DRY_WAYS = (("reference", "fp32"), ("fastsep", "fp32"))
ROLLOUT_WAYS = (
    ("reference", "fp32"), ("reference captured", "fp32"), ("reference captured", "bf16"),
    ("fastsep captured streaming", "bf16"), ("fastsep captured stationary", "bf16"),
    ("fastsep captured adjoint", "bf16"), ("fastsep captured cluster16", "bf16"), ("fastsep captured cluster8", "bf16"),
    ("fastsep streaming", "bf16"), ("fastsep stationary", "bf16"),
)  # fmt: skip


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


def measure_ceilings(recorder: Recorder) -> None:
    """Matrix product and copy."""
    recorder.note("ceilings", lambda: ceilings(recorder.device, small=recorder.dry))


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


def time_generation(recorder: Recorder) -> None:
    """The wave equation: the whole published set, and more sequences."""
    counts = (2,) if recorder.dry else (300, 132, 3000)
    for count in counts:
        frames, grid = (8, 16) if recorder.dry else (300, 64)
        row = Row("generate", "fastsep", recorder.device.type, "fp32", {"sequences": count})
        recorder.time(row, partial(subjects_data.generate, "fastsep", count, recorder.device, frames, grid))
    row = Row("generate", "reference", recorder.device.type, "fp32", {"sequences": 1})
    frames = 8 if recorder.dry else 300
    recorder.time(row, partial(subjects_data.generate, "reference", 1, recorder.device, frames), rounds=3)


def time_rollout(recorder: Recorder) -> None:
    """Every way to roll out, over batch and steps, forward and with its gradient."""
    device = recorder.device
    if recorder.dry:
        sizes, ways = [(2, 3)], [("reference", "fp32"), ("fastsep", "fp32")]
    else:
        first = [(128, 25), (1, 25), (1024, 25), (16, 25)]
        rest = [(b, s) for s in (15, 100) for b in (128, 1, 16, 1024)]
        sizes, ways = first + rest, ROLLOUT_WAYS
    for batch, steps in sizes:
        for backward in (True, False):
            compiled = (("reference compiled captured", "bf16"),) if (batch, steps) == (128, 25) else ()
            for way, precision in (*ways, *compiled):
                case = {"batch": batch, "steps": steps, "pass": "fwd+bwd" if backward else "fwd"}
                row = Row("rollout", way, device.type, precision, case)
                make = partial(subjects.rollout, way, batch, steps, device, backward, precision)
                recorder.time(row, make, rounds=20, budget=0.25)


def time_steps(recorder: Recorder) -> None:
    """The training step of every preset in every way."""
    device, dry = recorder.device, recorder.dry
    for ways, preset in product(STEP_WAYS, ORDER) if not dry else product((DRY_WAYS,), ("wave100", "mnist")):
        for way, precision in ways:
            batch = 2 if dry else PRESETS[preset]().optim.batch_size
            row = Row(f"step/{preset}", way, device.type, precision, {"batch": batch})
            recorder.time(row, partial(subjects.step, preset, way, batch, device, precision, dry), budget=2.0)


def time_forecasts(recorder: Recorder) -> None:
    """Forecasts of 10, 95 and 400 frames."""
    device, dry = recorder.device, recorder.dry
    ways = (
        ("reference", "fp32"), ("fastsep", "fp32"), ("fastsep captured", "fp32"), ("fastsep captured", "bf16"),
        ("reference compiled", "fp32"),
    )  # fmt: skip
    for preset in ("wave",) if dry else ("wave", "mnist", "sst"):
        for horizon in (3,) if dry else (10, 95, 400):
            for way, precision in ways[:2] if dry else ways:
                batch = 2 if dry else 16
                case = {"preset": preset, "batch": batch, "horizon": horizon}
                row = Row("forecast", way, device.type, precision, case)
                make = partial(subjects.forecast, preset, way, batch, horizon, device, precision, dry)
                recorder.time(row, make, budget=1.0)


def time_the_rest(recorder: Recorder) -> None:
    """Decoder, norm, scores and data."""
    device, dry = recorder.device, recorder.dry
    for way, precision in (
        ("reference", "fp32"), ("reference", "bf16"), ("fastsep", "bf16"), ("fastsep compiled", "bf16"),
        ("reference compiled", "bf16"),
    )[: 1 if dry else None]:  # fmt: skip
        batch, calls = (2, 2) if dry else (128, 16)
        row = Row("conv_block", way, device.type, precision, {"batch": batch, "calls": calls})
        recorder.time(row, partial(subjects.decoder, way, batch, calls, device, precision, 4 if dry else 64))
    for way, precision in (
        ("reference", "fp32"), ("reference captured", "bf16"), ("fastsep captured", "bf16"),
        ("reference compiled captured", "bf16"), ("fastsep", "fp32"),
    )[:: 4 if dry else 1]:  # fmt: skip
        batch, calls = (2, 2) if dry else (128, 16)
        row = Row("call_norm", way, device.type, precision, {"batch": batch, "calls": calls})
        recorder.time(row, partial(subjects.norm, way, batch, calls, device, precision))
    for way in ("reference", "fastsep") if dry else ("reference", "fastsep", "reference compiled"):
        batch = 1 if dry else 16
        row = Row("metrics", way, device.type, "fp32", {"batch": batch, "frames": 10})
        recorder.time(row, partial(subjects_data.metrics, way, batch, 10, device), budget=1.0)
    for way in ("reference", "fastsep"):
        for name in ("wave",) if dry else subjects_data.DATA:
            row = Row(f"data/{name}", way, device.type, "fp32", {"batch": 128})
            recorder.time(row, partial(subjects_data.data, name, way, 128, device), budget=1.0)


def tune_rollout(recorder: Recorder) -> None:
    """The rollout kernels' own sweep over configurations."""

    def make() -> dict[str, Any]:
        if recorder.dry:
            return {"skipped": "the sweep needs a GPU"}
        out = recorder.path.with_name("rollout_tune.json")
        seconds = max(min(recorder.time_left() - 30, 180), 10)
        command = [
            sys.executable,
            "-m",
            "kernels.latent_rollout.tune",
            "--out",
            str(out),
            "--seconds",
            f"{seconds:.0f}",
        ]
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


def profile_step(recorder: Recorder) -> None:
    """The kernels that a step of wave and of mnist spends its time in, eager and captured."""
    for preset in ("wave100",) if recorder.dry else ("wave", "mnist"):
        for way in ("fastsep",) if recorder.dry else ("fastsep captured", "fastsep"):
            recorder.note(f"profile {preset} {way}", partial(profile, preset, way, *sizes(recorder, preset)))


def scale(recorder: Recorder) -> None:
    """Time and memory against batch, grid, horizon and number of sequences."""
    for axis in scaling.AXES:
        for row, make in scaling.subjects_along(axis, recorder.device, small=recorder.dry):
            recorder.time(row, make, rounds=10, budget=0.5)


PARTS: dict[str, Part] = {
    "ceilings": Part(40, measure_ceilings),
    "tests": Part(180, run_tests),
    "generate": Part(60, time_generation),
    "rollout": Part(130, time_rollout),
    "cluster": Part(240, check_cluster),
    "blockstep": Part(240, time_block_steps),
    "wave-step": Part(120, time_wave_steps),
    "step": Part(420, time_steps),
    "train": Part(150, trainer(("wave100-published", 0), ("wave-published", 0))),
    "train-own": Part(80, trainer(("wave100-onecycle", 0), ("wave-onecycle", 0)), dry=False),
    "train-best": Part(400, trainer(*product(("wave-best", "wave100-best"), range(3))), dry=False),
    "profile": Part(60, profile_step),
    "forecast": Part(90, time_forecasts),
    "seeds": Part(110, trainer(
        ("wave100-published", 1), ("wave100-published", 2), ("wave100-no-s", 0), ("wave-published", 1),
        ("wave-published", 2), ("wave-no-s", 0), ("wave100-no-s", 1), ("wave100-no-s", 2),
    ), dry=False),
    "scaling": Part(90, scale),
    "rest": Part(120, time_the_rest),
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
       for preset in ORDER},
    **{f"baseline-{preset}": Part(240, partial(conv_parts.time_steps, presets=(preset,), ways=(
        "reference compiled captured",
    )), dry=False) for preset in ORDER},
}  # fmt: skip
"""By name, in order of worth."""
