"""Score a run and draw it: ``python -m fastsep.evaluate runs/wave100``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    horizon: int | None = None,
    swap: bool = False,
    device: str = "auto",
    batch_size: int | None = None,
    data: Path | None = None,
    figures: bool = True,
) -> None:
    """Score a run on its test set: a table, metrics.json and figures in the run directory.

    Args:
        run: run directory, as training wrote it.
        horizon: frames to forecast [the longest published horizon that the data allow].
        swap: also score forecasts with the content of one sequence and the motion of another.
        device: auto, cpu, cuda or cuda:N.
        batch_size: sequences forecast at once [what fits memory].
        data: where the data lie, if not where the run's settings say.
        figures: draw figures and an animation.
    """
    # Imported only now: --help should not wait for PyTorch.
    from fastsep.evaluation import evaluate_run
    from fastsep.evaluation.report import print_report

    print_report(run, evaluate_run(run, horizon, swap, device, batch_size, data, figures))


def main() -> None:
    """Parse, evaluate, print."""
    tyro.cli(evaluate, prog="python -m fastsep.evaluate")


if __name__ == "__main__":
    cli.run(main)
