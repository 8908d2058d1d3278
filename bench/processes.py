"""A training step by 1 and 2 processes with one core each: ``python -m bench.processes`` keeps the rows.

*Strong*: all processes share one batch. *Weak*: each has a whole one, the global batch grows. Efficiency is what
sequences a second and process keep of one process's. One process runs without torchrun, as users start it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from bench import subjects
from bench.environment import RESULTS, ceilings, describe, slug
from bench.reporting.process_tables import GROUP, table
from bench.rows import Row, write_json
from bench.timing import summarise
from fastsep import distributed
from fastsep.presets import PRESETS

PRESET, BATCH = "wave100", 128
KINDS = ("strong", "weak")


def main() -> None:
    """Measure every case in processes of its own, or be one of those."""
    parser = argparse.ArgumentParser("python -m bench.processes", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default=PRESET)
    parser.add_argument("--batch", type=int, default=BATCH, help=f"sequences of one process's batch [{BATCH}]")
    parser.add_argument("--most", type=int, default=2, help="processes, doubled up to these [2]")
    parser.add_argument("--rounds", type=int, default=20, help="timed steps of each case [20]")
    parser.add_argument("--dry", action="store_true", help="small networks; the rows are printed and not kept")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.into:
        _be_process(options)
        return
    rows = [_measure(options, kind, count) for kind in KINDS for count in _doubled(options.most)]
    cpu = torch.device("cpu")
    if not options.dry:
        value = {"environment": describe(cpu), "ceilings": ceilings(cpu), "rows": [row.to_json() for row in rows]}
        write_json(RESULTS / slug(cpu) / f"{GROUP.replace('/', '-')}.json", value)
    print(table(rows))


def _doubled(most: int) -> list[int]:
    return [1 << k for k in range(most.bit_length())]


def _measure(options: argparse.Namespace, kind: str, count: int) -> Row:
    batch = options.batch * (count if kind == "weak" else 1)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "times.json"
        own = ["--preset", options.preset, "--batch", batch, "--rounds", options.rounds, "--into", into]
        command = [sys.executable, *launcher, "-m", "bench.processes", *map(str, own), *["--dry"] * options.dry]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
        times = json.loads(into.read_text())
    case = {"preset": options.preset, "processes": count, "batch": batch}
    return Row(GROUP, kind, "cpu", "fp32", case, summarise(times).to_json(), items=batch)


def _be_process(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0))
    with distributed.joined() as world:
        os.sched_setaffinity(0, {cores[world.local_rank % len(cores)]})
        torch.set_num_threads(1)
        step = subjects.step(options.preset, "fastsep", options.batch, torch.device("cpu"), "fp32", options.dry)
        times = []
        for _ in range(2 + options.rounds):
            world.barrier()
            begin = time.perf_counter()
            step.call()
            times.append(time.perf_counter() - begin)
        if world.is_first:
            options.into.write_text(json.dumps(times[2:]))


if __name__ == "__main__":
    main()
