"""Train a preset: ``python -m fastsep.train wave100`` (``--help`` lists presets, ``wave100 --help`` its settings)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli
from fastsep.config import Config
from fastsep.presets import PRESETS

_DESCRIPTION = """Train a preset into a run directory: settings, log, checkpoints, scores and figures.

Every setting of a preset can be overridden; `python -m fastsep.train PRESET --help` lists them.
Continue an interrupted run with `python -m fastsep.train --resume RUN`."""


def main() -> None:
    """Parse, train, score."""
    arguments = sys.argv[1:]
    if arguments and arguments[0].split("=")[0] == "--resume":
        run = tyro.cli(_resume_path, prog="python -m fastsep.train", args=arguments)
        config = None
    else:
        config = _parse_config(arguments)
        run = config.run.out

    # Imported only now: --help should not wait for PyTorch's slower parts.
    from fastsep.training import loop

    if config is None:
        loop.resume(run)
        config = loop.load_config(run)
    else:
        loop.train(config, run)
    if config.run.score:
        from fastsep.evaluation import evaluate_run
        from fastsep.evaluation.report import print_report

        print_report(run, evaluate_run(run, device=config.run.device))
    print(f"run: {run}")


def _resume_path(resume: Path) -> Path:
    """Continue a run from its newest checkpoint.

    Args:
        resume: run directory.
    """
    return resume


def _parse_config(arguments: list[str]) -> Config:
    defaults = {name.replace("_", "-"): preset() for name, preset in PRESETS.items()}
    descriptions = {name.replace("_", "-"): (preset.__doc__ or "").strip() for name, preset in PRESETS.items()}
    presets = tyro.extras.subcommand_type_from_defaults(defaults, descriptions)
    kind = Annotated[presets, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes]
    return cli.parse(kind, "train", arguments, description=_DESCRIPTION)


if __name__ == "__main__":
    cli.run(main)
