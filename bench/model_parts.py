"""Parts of the GPU suite that time what the product is made of: data, rollouts, steps, forecasts, the rest."""

from __future__ import annotations

from functools import partial
from itertools import product

from bench import scaling, subjects, subjects_data
from bench.conv_parts import profile, sizes
from bench.environment import ceilings
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


def measure_ceilings(recorder: Recorder) -> None:
    """Matrix product and copy."""
    recorder.note("ceilings", lambda: ceilings(recorder.device, small=recorder.dry))


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
