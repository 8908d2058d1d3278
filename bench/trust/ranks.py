"""Kills of one of several processes: torchrun starts them anew, and the run ends where the unbroken one does."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.trust.runs import PATIENCE, is_same

_RANKS = 2
_RESTARTS = 3  # of one torchrun
_STEPS, _EVERY = 60, 4
_NARROW = {"enc-hidden-size": 16, "dec-hidden-size": 16, "res-hidden-size": 16, "batch-size": 4}


@dataclass
class Counts:
    """What happened."""

    kills: int = 0
    before_a_checkpoint: int = 0
    """Kills before the first checkpoint: those runs began anew."""
    runs: int = 0
    """Runs that came to their end, equal to the unbroken one in every bit of weights and moments."""
    tracebacks: int = 0


def kill_ranks(kills: int, seed: int, place: Path) -> Counts:
    """Kill random ranks at random instants, at most three times a run, until there were ``kills`` kills.

    Raises:
        AssertionError: torchrun did not bring a run to its end by itself, or it ended elsewhere.
    """
    chance, counts = random.Random(seed), Counts()
    whole = place / "whole"
    seconds = _train(whole, place, [], chance, counts)
    while counts.kills < kills:
        run = place / f"run-{counts.runs}"
        instants = [chance.uniform(0, seconds) for _ in range(min(_RESTARTS, kills - counts.kills))]
        _train(run, place, instants, chance, counts)
        assert is_same(run, whole), f"{run} ended elsewhere than unbroken"
        shutil.rmtree(run)
        counts.runs += 1
    shutil.rmtree(whole)
    return counts


def _train(run: Path, place: Path, instants: list[float], chance: random.Random, counts: Counts) -> float:
    """Train under one torchrun; after each of ``instants``, in seconds since all ranks were there, one is killed."""
    settings = {**_NARROW, "data": place.parent / "wave" / "wave.h5", "steps": _STEPS, "checkpoint-every": _EVERY}
    options = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={_RANKS}", f"--max-restarts={_RESTARTS}"]
    train = ["fastsep.train", "wave100", *options, "--precision=fp32", "--device=cpu", "--no-score", f"--out={run}"]
    output = place / "output.txt"
    with open(output, "w") as file:
        command = [sys.executable, "-m", *torchrun, "-m", *train]
        job = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"})
        dead: set[int] = set()
        for instant in instants:
            ranks = _wait_for_ranks(job, dead)
            time.sleep(instant)
            if job.poll() is not None:  # it was faster than the unbroken run
                break
            counts.before_a_checkpoint += not any((run / "checkpoints").glob("step-*"))
            victim = chance.choice(ranks)
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:  # it has come to its end
                break
            counts.kills += 1
            dead.update(ranks)
        begin = time.monotonic()
        if not instants:
            _wait_for_ranks(job, dead)
            begin = time.monotonic()
        status = job.wait(PATIENCE)
    text = output.read_text(errors="replace")
    counts.tracebacks += "Traceback" in text
    assert status == 0, f"torchrun ended with status {status}: {text[-3000:]}"
    return time.monotonic() - begin


def _wait_for_ranks(job: subprocess.Popen, dead: set[int]) -> list[int]:
    """The process numbers of all ranks, once they run that are not those of ``dead`` ones."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        ranks = [int(child) for child in children if int(child) not in dead and _is_rank(child)]
        if len(ranks) == _RANKS or job.poll() is not None:
            return ranks
        time.sleep(0.02)
    raise AssertionError("torchrun has not started all ranks")


def _is_rank(process: str) -> bool:
    try:
        return b"fastsep.train" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
