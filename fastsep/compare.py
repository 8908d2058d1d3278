"""Scores of several runs side by side: ``python -m fastsep.compare runs/wave100-*``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli, entry
from fastsep.settings import Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Compare runs that were scored on the same data: mean and standard deviation over those that differ in their seed
    alone, a row for each choice of other settings."""

    runs: Annotated[cli.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Run directories, scored (at the end of a training, or by python -m fastsep.evaluate)."""
    csv: Path | None = None
    """File to write: the table as CSV, with the value of each run."""
    figure: Path | None = None
    """Picture to draw, .png, .pdf or .svg: scores against the horizon, mean and range of each row."""


def main() -> None:
    """Parse, compare, print, write."""
    example = "runs/wave100-0 runs/wave100-1 --csv seeds.csv --figure seeds.png"
    arguments = cli.parse(Arguments, "compare", examples=[example])

    # Imported only now: --help should not wait for PyTorch.
    from fastsep.evaluation.comparison import compare_runs, format_comparison, write_comparison

    comparison = compare_runs(arguments.runs)
    print(format_comparison(comparison), flush=True)
    for path in write_comparison(comparison, arguments.csv, arguments.figure):
        print(path)


if __name__ == "__main__":
    entry.run(main)
