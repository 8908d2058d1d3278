"""The parts of the GPU suite about convolutional presets: profiles, steps, choices, and each layer alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from bench import subjects
from bench.conv_layers import layer_subject, layers
from bench.profiling import by_kind, kernels
from bench.recorder import Recorder
from bench.rows import Row
from bench.timing import measure
from fastsep.presets import PRESETS
from fastsep.training.tuning import settle

CONVOLUTIONAL = ("mnist", "taxibj", "chairs", "sst")


def sizes(recorder: Recorder, preset: str) -> tuple[int, torch.device, str, bool]:
    """Batch, device, precision, and whether networks are shrunk."""
    dry = recorder.dry
    batch = 2 if dry else PRESETS[preset]().optim.batch_size
    return batch, recorder.device, "fp32" if dry else "bf16", dry


def profile_steps(recorder: Recorder) -> None:
    """The kernels that a captured step of every convolutional preset spends its time in."""
    for preset in CONVOLUTIONAL[: 1 if recorder.dry else None]:
        way = "fastsep" if recorder.dry else "fastsep captured"
        recorder.note(f"profile {preset} {way}", partial(profile, preset, way, *sizes(recorder, preset)))


def profile(preset: str, way: str, batch: int, device: torch.device, precision: str, small: bool) -> dict[str, Any]:
    """Kernels of one step of ``preset``, see ``profile_subject``."""
    subject = subjects.step(preset, way, batch, device, precision, small)
    for _ in range(5):
        subject.call()
    return profile_subject(subject, device)


def profile_subject(subject: subjects.Subject, device: torch.device) -> dict[str, Any]:
    """Kernels by device time, in microseconds each time that the row counts; the sum, and the sums by kind."""
    rows = kernels(subject.call, device)
    for row in rows:
        row["calls"], row["us"] = row["calls"] / subject.times, round(row["us"] / subject.times, 2)
    total = round(sum(row["us"] for row in rows), 1)
    launches = round(sum(row["calls"] for row in rows), 1)
    return {"total_us": total, "launches": launches, "kinds": by_kind(rows), "kernels": rows[:60]}


def time_steps(recorder: Recorder, ways: tuple[str, ...], presets: tuple[str, ...] = CONVOLUTIONAL) -> None:
    """Steps of ``presets`` in ``ways``; the naive reference in float32, all else in bf16."""
    for preset in presets:
        for way in ways:
            batch, device, precision, dry = sizes(recorder, preset)
            precision = "fp32" if way == "reference" else precision
            row = Row(f"step/{preset}", way, device.type, precision, {"batch": batch})
            make = partial(subjects.step, preset, way, batch, device, precision, dry)
            recorder.time(row, make, rounds=20, budget=0.8)


def time_default_step(recorder: Recorder, preset: str) -> None:
    """The step as training runs it by default, its kernels one after the other, and what it is compared with."""
    batch, device, precision, dry = sizes(recorder, preset)
    way = "fastsep" if dry else "fastsep compiled captured"
    row = Row(f"step/{preset}", way, device.type, precision, {"batch": batch})
    make = partial(subjects.step, preset, way, batch, device, precision, dry)
    profile = f"profile {preset} {way}", partial(profile_in_turn, device=device)
    recorder.time(row, make, rounds=30, budget=1.0, note=profile)
    time_steps(recorder, ("reference",) if dry else ("fastsep captured", "reference"), (preset,))


def profile_in_turn(subject: subjects.Subject, device: torch.device) -> dict[str, Any]:
    """Kernels of a step, and its time, with nothing beside: else each takes longer, and their sum more than a step."""
    with subject.keep[0].in_turn():
        for _ in range(subjects.CAPTURES_AFTER):
            subject.call()
        seconds = measure(subject.call, device, 10, 1, 0.5).median / subject.times
        return {**profile_subject(subject, device), "one_stream_ms": round(1e3 * seconds, 4)}


def list_choices(recorder: Recorder) -> None:
    """What is chosen for every case of every convolutional preset, measured now; the sum of what the choices gain."""
    for preset in CONVOLUTIONAL[: 1 if recorder.dry else None]:
        recorder.note(f"choices {preset}", partial(choices_of, preset, *sizes(recorder, preset)))


def choices_of(preset: str, batch: int, device: torch.device, precision: str, small: bool) -> dict[str, Any]:
    """Candidates of each case with their times, or why they are out."""
    step = subjects.step(preset, "fastsep", batch, device, precision, small).keep[0]
    found = settle(step, again=False, run=None)
    gain = sum(next(iter(c.us.values())) - c.us[c.use] for c in found.values() if c.us)  # the library comes first
    return {"gain_us": round(gain, 1), "choices": {case.name: choice.to_json() for case, choice in found.items()}}


def time_layers(recorder: Recorder, backward: tuple[bool, ...] = (True, False)) -> None:
    """Each distinct layer of each convolutional preset alone: as the library has it, and ours."""
    for preset in CONVOLUTIONAL[: 1 if recorder.dry else None]:
        batch, device, precision, dry = sizes(recorder, preset)
        for layer in layers(preset, batch, dry)[: 2 if dry else None]:
            for both in backward:
                for way in ("reference", *(["reference padded"] * layer.thin), "fastsep"):
                    make = partial(layer_subject, preset, layer, way, both, batch, device, precision)
                    case = {"batch": batch, "layer": layer.name, "pass": "fwd+bwd" if both else "fwd"}
                    row = Row(f"conv_block/{preset}", way, device.type, precision, case)
                    recorder.time(row, make, rounds=10, budget=0.05)
