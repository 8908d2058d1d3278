"""``python -m bench.trust``: do harm, count what came of it, and keep the counts in ``bench/results/trust.json``.

A part raises as soon as something is not as promised; counts are kept of those that went through. Parts that are not
asked for keep the counts they have. ``--quick`` prints the counts of a short pass over all of them, and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.environment import RESULTS, describe
from bench.rows import write_json
from bench.trust import faults, kills, mutations, ranks
from bench.trust.runs import prepare

FILE = RESULTS / "trust.json"
SEED = 2020


def _stop(signum: int) -> Callable[[int, Path], dict[str, Any]]:
    return lambda count, place: vars(kills.kill(kills.KINDS, count, signum, SEED, place))


def _kill_ranks(count: int, place: Path) -> dict[str, Any]:
    return vars(ranks.kill_ranks(count, SEED, place))


def _strike(stride: int, place: Path) -> dict[str, Any]:
    return vars(faults.strike(faults.KINDS, stride, place))


PARTS: dict[str, tuple[int, int, str, Callable[[int, Path], dict[str, Any]]]] = {
    "kills": (200, 30, "how many SIGKILLs at random instants of trainings", _stop(signal.SIGKILL)),
    "terminations": (200, 6, "how many SIGTERMs likewise", _stop(signal.SIGTERM)),
    "ranks": (20, 2, "how many SIGKILLs of one of two ranks under torchrun", _kill_ranks),
    "faults": (1, 250, "strike every N-th operation on files", _strike),
    "mutations": (100_000, 3_000, "how many changed input files", mutations.try_mutations),
}
"""Each part by name: its number in full, its number in a hurry, what the number is, and the part: a function of the
number and of an empty directory (data for tiny runs lie above it), which returns counts, ``tracebacks`` among them."""


def main() -> None:
    """Parse, do harm, keep the counts."""
    parser = argparse.ArgumentParser("python -m bench.trust", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} [all]")
    parser.add_argument("--quick", action="store_true", help="a short pass, whose counts are printed and not kept")
    for name, (full, quick, words, _) in PARTS.items():
        parser.add_argument(f"--{name}", type=int, help=f"{words} [{full}; --quick: {quick}]")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {min(unknown)}: choose of {', '.join(PARTS)}")
    facts = describe(torch.device("cpu"))
    counts: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() and not options.quick else {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for name in options.parts or PARTS:
            full, quick, _, part = PARTS[name]
            number = getattr(options, name) or (quick if options.quick else full)
            place = Path(folder) / name
            place.mkdir()
            counts[name] = part(number, place) | {key: facts[key] for key in ("commit", "date", "device")}
            if not options.quick:
                write_json(FILE, counts)
            print(json.dumps({name: counts[name]}), flush=True)


if __name__ == "__main__":
    main()
