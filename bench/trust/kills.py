"""Kills: trainings stopped at random instants, checkpoint writes included, end where the unbroken ones do, bit by bit.

After each kill the directory is evaluated as it is. ``python -m bench.trust kills --quick`` prints counts.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.trust.runs import STEPS, attempt, evaluate, go_on, is_same, tiny
from fastsep.config import Config
from fastsep.runs.log_file import read_log

KINDS = ("wave100", "mnist")
_SAID = ("--resume", "it was the last one", "no file is half written")
_LEFT_BY_A_WRITE = (".run.part.json", ".config.part.json", ".log.part.csv")


@dataclass
class Counts:
    """What happened."""

    kills: int = 0
    in_a_write: int = 0
    """Kills that left a file or a checkpoint half written under its temporary name."""
    evaluated: int = 0
    """Directories evaluated after a kill; the others had no checkpoint yet, and said so."""
    runs: int = 0
    """Runs that came to their end, equal to the unbroken one in every bit of weights and moments."""
    tracebacks: int = 0


def kill(kinds: tuple[str, ...], kills: int, signum: int, seed: int, place: Path) -> Counts:
    """Stop trainings until there were ``kills`` of them, and take each run to its end.

    Raises:
        AssertionError: a directory could not be evaluated or continued, or a run ended elsewhere.
    """
    chance, counts = random.Random(seed), Counts()
    configs = {kind: tiny(kind, place, chance.randrange(1_000_000)) for kind in kinds}
    ends = {kind: attempt(go_on(config, place / kind), place) for kind, config in configs.items()}
    assert not any(end.status for end in ends.values()), ends
    while counts.kills < kills:
        kind = kinds[counts.runs % len(kinds)]
        run = place / f"{kind}-{signum}-{counts.runs}"
        _stop_and_go_on(configs[kind], run, place, kills, signum, ends[kind].seconds, chance, counts)
        assert is_same(run, place / kind), f"{run} ended elsewhere than unbroken"
        steps = [row["step"] for row in read_log(run)]
        assert steps == sorted(set(steps)) and steps[-1] == STEPS, f"the log of {run} is out of order: {steps}"
        shutil.rmtree(run)
        counts.runs += 1
    for kind in kinds:
        shutil.rmtree(place / kind)
    return counts


def _stop_and_go_on(
    config: Config,
    run: Path,
    place: Path,
    kills: int,
    signum: int,
    seconds: float,
    chance: random.Random,
    counts: Counts,
) -> None:
    """Train with a stop at a random instant each time, until it is complete or there were enough."""
    while True:
        enough = counts.kills >= kills
        # Of instants before the end of an unbroken run some come after a checkpoint, however long the start takes.
        end = attempt(go_on(config, run), place, None if enough else chance.uniform(0, seconds), signum)
        counts.tracebacks += "Traceback" in end.output
        assert "Traceback" not in end.output, end.output
        if end.status == 0:
            return
        if end.status == 2 and "is complete" in end.output:  # stopped after its last checkpoint
            return
        assert end.status in (-signum, 128 + signum), f"status {end.status}: {end.output}"
        assert end.status == -signum or any(words in end.output for words in _SAID), end.output
        counts.kills += 1
        counts.in_a_write += any(os.path.lexists(place) for place in _left(run))
        if run.exists():
            counts.evaluated += evaluate(run, place)


def _left(run: Path) -> list[Path]:
    return [run / name for name in _LEFT_BY_A_WRITE] + [run / "checkpoints" / ".part"]
