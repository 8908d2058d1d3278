"""Score a run and draw it: ``python -m fastsep.evaluate runs/wave100``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastsep import cli
from fastsep.settings import Count, Device, Range, Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Score a run on its test set: a table, metrics.json and figures in the run directory."""

    run: cli.Positional[Path]
    """Run directory, as training wrote it."""
    horizon: Annotated[int | None, Range(1, 1_000_000)] = None
    """Frames to forecast [the longest published horizon that the data allow]."""
    swap: bool = False
    """Also score forecasts with the content of one sequence and the motion of another."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    batch_size: Count | None = None
    """Sequences forecast at once [what fits memory]."""
    data: Path | None = None
    """Where the data lie, if not where the run's settings say."""
    figures: bool = True
    """Draw figures and an animation."""


def main() -> None:
    """Parse, evaluate, print."""
    a = cli.parse(Arguments, "evaluate")

    # Imported only now: --help should not wait for PyTorch.
    from fastsep.evaluation import evaluate_run
    from fastsep.evaluation.report import print_report

    print_report(a.run, evaluate_run(a.run, a.horizon, a.swap, a.device, a.batch_size, a.data, a.figures))


if __name__ == "__main__":
    cli.run(main)
