"""Predicted step time and efficiency on 1 to 64 GPUs, from measured steps, gradient bytes and the speeds of links.

``python -m bench.scale_plan`` prints predictions with the formulas that they follow from. It writes nothing: what it
prints is no measurement and goes into no table of measurements.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace

from bench.environment import RESULTS
from bench.links import LINKS, START, Machine, all_reduce
from bench.reporting.compare import best
from bench.reporting.results_files import Device, read_results
from bench.reporting.tables import note_table
from bench.reporting.text import duration
from bench.work import ADAM_BYTES, parameters
from fastsep import entry
from fastsep.errors import UserError
from fastsep.presets import PRESETS

GPUS = (1, 2, 4, 8, 16, 32, 64)
BACKWARD = 2 / 3
"""Share of a step's arithmetic that is backward, behind which an all-reduce can hide."""


@dataclass(frozen=True)
class Step:
    """A measured step on one GPU, and what of it does not shrink with the batch."""

    preset: str
    batch: int
    seconds: float
    fixed: float
    gradient_bytes: int
    source: str


@dataclass(frozen=True)
class Prediction:
    """Seconds of one all-reduce and of a step on several GPUs, and efficiency against one."""

    gpus: int
    batch: float
    """Sequences on each GPU."""
    all_reduce: float
    flat: float
    """The step with one all-reduce after backward, as within one captured graph."""
    flat_efficiency: float
    overlapped: float
    """The step with an all-reduce that hides behind backward as far as that lasts."""
    overlapped_efficiency: float


FORMULAS = """\
all-reduce   a(N) = start + (2 (N-1) - 2 (nodes-1)) hop_inside + 2 (nodes-1) hop_between + 2 (N-1)/N bytes / speed
             a ring, which NCCL leaves for a tree where that is faster; speed = {reached:g} x inside within a node,
             {reached:g} x min(inside, {adapters} adapters x between) across nodes; start {start:.1f} us
same batch on every GPU (the global batch grows):  t(N) = t(1) + a(N), efficiency t(1) / t(N)
same global batch (what the same command does):    t(N) = fixed + (t(1) - fixed) / N + a(N), efficiency t(1) / (N t(N))
             fixed = Adam's traffic at the measured copy rate + on a GPU the rollout's serial steps, as measured at the
             smallest batch; the rest is taken to run as well with few sequences as with many, which is optimistic
flat         one all-reduce after backward; overlapped: a(N) counts only beyond the backward pass, taken as 2/3 of the
             step without its fixed part
left out     batch norm over all ranks (--norm-over all), reading of data, ranks that wait for a slow one"""


def predict(step: Step, gpus: int, machine: Machine, same_global_batch: bool) -> Prediction:
    """What ``step`` takes on ``gpus`` GPUs with the measured batch on each, or with that batch over all of them."""
    share = 1 / gpus if same_global_batch else 1.0
    work = (step.seconds - step.fixed) * share
    a = all_reduce(step.gradient_bytes, gpus, machine)
    flat = step.fixed + work + a
    overlapped = step.fixed + work + max(a - BACKWARD * work, 0.0)
    ideal = step.seconds * share
    return Prediction(gpus, step.batch * share, a, flat, ideal / flat, overlapped, ideal / overlapped)


def measured_steps(device: Device, precision: str = "bf16", width: int = 4) -> list[Step]:
    """The newest step of each preset that was measured on ``device``; gradients of ``width`` bytes a number."""
    found = []
    for preset, (batch, seconds, source) in _fastest(device, precision).items():
        config = PRESETS[preset]()
        weights = parameters(config.model)
        frames = config.objective.nt_pred + config.model.offset
        fixed = ADAM_BYTES * weights / device.ceilings["copy"]
        fixed += config.model.n_blocks * (frames - 1) * _block_step(device)
        found.append(Step(preset, batch, seconds, min(fixed, seconds), width * weights, source))
    return found


def _fastest(device: Device, precision: str) -> dict[str, tuple[int, float, str]]:
    """Batch, seconds and source of the fastest way, by preset."""
    found = {}
    for group in device.matching("step/"):
        row = best([row for row in group.timed if row.precision == precision], "fastsep")
        if row:
            source = f"{row.way} {precision}, commit {group.environment['commit']}"
            found[group.name.removeprefix("step/")] = (row.case["batch"], row.seconds["median"], source)
    return found


def _block_step(device: Device) -> float:
    """Seconds of one residual block in one step of a rollout with its gradient, at the smallest batch measured; 0 on a
    CPU, where they are arithmetic."""
    wave = PRESETS["wave"]().model.n_blocks
    rows = [
        row
        for group in device.matching("rollout")
        for row in group.timed
        if row.way.startswith("fastsep") and row.case["pass"] == "fwd+bwd"
    ]
    if not rows or not device.is_gpu:
        return 0.0
    smallest = min(row.case["batch"] for row in rows)
    return min(
        row.seconds["median"] / (wave * (row.case["steps"] - 1)) for row in rows if row.case["batch"] == smallest
    )


def plan(step: Step, machine: Machine) -> str:
    """The predictions for one preset as text."""
    head = (
        f"## {step.preset}: predicted from {duration(step.seconds)} a step of {step.batch} sequences on one GPU "
        f"({step.source}), of which {duration(step.fixed)} fixed; gradients of {step.gradient_bytes / 1e6:.1f} MB\n"
    )
    columns = ["GPUs", "nodes", "batch a GPU", "all-reduce", "flat", "efficiency", "overlapped", "efficiency"]
    parts = [head]
    for title, same in (("Same batch on every GPU", False), ("Same global batch", True)):
        fitting = [gpus for gpus in GPUS if not same or step.batch % gpus == 0]
        rows = [_cells(predict(step, gpus, machine, same), machine) for gpus in fitting]
        parts += [f"{title}, predicted:\n", *note_table({"columns": columns, "rows": rows}), ""]
    return "\n".join(parts)


def _cells(row: Prediction, machine: Machine) -> tuple[str, ...]:
    return (
        str(row.gpus), str(math.ceil(row.gpus / machine.gpus_per_node)), f"{row.batch:g}",
        duration(row.all_reduce) if row.gpus > 1 else "none",
        duration(row.flat), f"{row.flat_efficiency:.0%}", duration(row.overlapped), f"{row.overlapped_efficiency:.0%}",
    )  # fmt: skip


def main() -> None:
    """Parse, predict, print."""
    machine = Machine()
    parser = argparse.ArgumentParser("python -m bench.scale_plan", description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="folder of bench/results with the measured steps [the first GPU's]")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, help="[all that were measured]")
    parser.add_argument("--inside", choices=LINKS, default="nvlink4", help="link within a node [nvlink4]")
    parser.add_argument("--between", choices=LINKS, default="ndr", help="link of one adapter between nodes [ndr]")
    parser.add_argument("--gpus-per-node", type=int, default=machine.gpus_per_node, help="[8]")
    parser.add_argument("--adapters", type=int, default=machine.adapters, help="of a node [8]")
    parser.add_argument("--reached", type=float, default=machine.reached, help="share of a link's speed [0.8]")
    parser.add_argument("--gradient-bytes", type=int, default=4, help="of each number that is summed [4]")
    given = parser.parse_args()
    if min(given.gpus_per_node, given.adapters, given.gradient_bytes) < 1 or not 0 < given.reached <= 1:
        raise UserError("set --gpus-per-node, --adapters and --gradient-bytes to 1 or more, --reached above 0, up to 1")
    machine = replace(
        machine, inside=LINKS[given.inside], between=LINKS[given.between], gpus_per_node=given.gpus_per_node,
        adapters=given.adapters, reached=given.reached,
    )  # fmt: skip
    device = find_device(read_results(RESULTS), given.device)
    steps = measured_steps(device, "bf16" if "matmul_bf16" in device.ceilings else "fp32", given.gradient_bytes)
    print(f"# PREDICTIONS for several of {device.name}: nothing below was measured on more than one\n")
    print(FORMULAS.format(reached=machine.reached, adapters=machine.adapters, start=START * 1e6) + "\n")
    for use, link in (("within a node", machine.inside), ("between nodes", machine.between)):
        speed = f"{link.bytes_per_second / 1e9:g} GB/s in one direction, {link.hop * 1e6:g} us a hop"
        print(f"{use}: {link.name}, {speed} ({link.source})")
    for step in steps:
        if not given.presets or step.preset in given.presets:
            print("\n" + plan(step, machine), end="")


def find_device(devices: list[Device], slug: str | None) -> Device:
    """The device of that name, or the first one, GPUs first, on which steps were measured. Raises UserError."""
    fitting = [device for device in devices if device.matching("step/") and "copy" in device.ceilings]
    chosen = next((device for device in fitting if slug in (None, device.slug)), None)
    if chosen is None:
        known = ", ".join(device.slug for device in fitting) or "none: measure with python -m bench.gpu_suite"
        raise UserError(f"no steps of {slug or 'any device'} in bench/results; there are those of {known}")
    return chosen


if __name__ == "__main__":
    entry.run(main)
