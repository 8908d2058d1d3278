"""Score a run and draw it: ``python -m fastsep.evaluate runs/wave100``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli, entry
from fastsep.config import EvaluateConfig
from fastsep.settings import Count, Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Score a run on its test set: a table, metrics.json and figures in the run directory."""

    run: cli.Positional[Path]
    """Run directory, as training wrote it."""
    scoring: Annotated[EvaluateConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=EvaluateConfig)
    timeout: Count = 600
    """Seconds that one of several processes waits for the others before it gives up."""


def main() -> None:
    """Parse, evaluate, print."""
    arguments = cli.parse(Arguments, "evaluate", examples=["runs/mine", "runs/mine --horizon 95 --device cpu"])

    # Imported only now: --help should not wait for PyTorch.
    from fastsep import distributed
    from fastsep.evaluation import evaluate_run
    from fastsep.evaluation.report import print_files, print_scores

    with distributed.joined(arguments.timeout) as world:
        result = evaluate_run(arguments.run, **vars(arguments.scoring), report=print_scores)
        if world.is_first:
            print_files(arguments.scoring.out or arguments.run, result)


if __name__ == "__main__":
    entry.run(main, several=True)
