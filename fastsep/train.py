"""Train a preset: ``python -m fastsep.train wave100`` (``--help`` lists presets, ``wave100 --help`` its settings)."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from fastsep import cli, entry, signals
from fastsep.config import Config, at_resume, check_resumable
from fastsep.errors import UserError
from fastsep.presets import all_presets
from fastsep.settings import as_path

if TYPE_CHECKING:  # PyTorch is imported when it is needed
    from fastsep.world import World

_DESCRIPTION = """Train a preset into a run directory: settings, log, checkpoints, scores and figures.

Every setting of a preset can be overridden; `python -m fastsep.train PRESET --help` lists them.
Continue an interrupted run with `python -m fastsep.train --resume RUN`; it takes the options of how and where to run,
such as --device, --data or --steps to extend it. With --auto-resume the command that begins a run also continues it."""
_GO_ON = "continue with --resume, or start anew where there is no run yet"
_EXAMPLES = ["wave100-onecycle", "frames --data mine.h5 --out runs/mine", "wave --epochs 10 --device cpu"]


def main() -> None:
    """Parse, train, score."""
    arguments = sys.argv[1:]
    resumed, rest = _split_resume(arguments)
    _check_length(rest)
    config = _parse_preset(rest) if resumed is None else _parse_resume(resumed, rest)
    run = config.run.out

    # Imported only now: --help should not wait for PyTorch's slower parts.
    from fastsep import distributed
    from fastsep.training import agreement, loop

    with distributed.joined(config.run.timeout, _GO_ON) as world:
        agreement.same_command(world, resumed is not None)
        if resumed is None:
            loop.train(config, run)
        else:
            loop.resume(run, config=config, again=config.run.auto_resume)
        if config.run.score:
            _score(config, run, world)
        if world.is_first:
            print(f"run: {run}")


def _score(config: Config, run: Path, world: World) -> None:
    from fastsep.evaluation import evaluate_run, is_scored
    from fastsep.evaluation.report import print_files, print_scores

    if config.run.auto_resume and world.of_first(is_scored(run)):
        return
    try:
        result = evaluate_run(run, device=config.run.device, report=print_scores)
        if world.is_first:
            print_files(run, result)
    except signals.Stopped as stop:
        note = f"the training is complete, score it with python -m fastsep.evaluate {shlex.quote(str(run))}"
        raise signals.Stopped(stop.signum, note) from None


def _split_resume(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The run after ``--resume``, wherever that stands, and the other arguments."""
    places = [place for place, word in enumerate(arguments) if word.split("=")[0] == "--resume"]
    if not places:
        return None, arguments
    first = places[0]
    value, after = arguments[first].partition("=")[2], first + 1
    if "=" not in arguments[first] and after < len(arguments) and not arguments[after].startswith("-"):
        value, after = arguments[after], after + 1
    if not value or len(places) > 1:
        raise UserError("--resume takes one run directory: python -m fastsep.train --resume RUN")
    run = as_path(value)
    if run is None:
        raise UserError(f"'{value}' is no path, or in the home directory of nobody here: give --resume a run directory")
    return run, arguments[:first] + arguments[after:]


def _check_length(arguments: list[str]) -> None:
    """Two options say how long to train; both at once would leave open which holds."""
    if _gives(arguments, "steps") and _gives(arguments, "epochs"):
        raise UserError("--steps and --epochs both say how long to train: give one of them")


def _gives(arguments: list[str], name: str) -> bool:
    return any(word.split("=")[0] == f"--{name}" for word in arguments)


def _of_length(config: Config, arguments: list[str]) -> Config:
    """``--epochs`` holds where it is given, though the preset or the run counts steps."""
    if not _gives(arguments, "epochs"):
        return config
    return config.having(epochs=config.optim.epochs)


def _parse_preset(arguments: list[str]) -> Config:
    presets = all_presets()
    defaults = {_dashed(name): config for name, (config, _) in presets.items()}
    descriptions = {_dashed(name): text for name, (_, text) in presets.items()}
    commands = tyro.extras.subcommand_type_from_defaults(defaults, descriptions)
    kind = Annotated[commands, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes]
    parsed = cli.parse(
        kind, "train", arguments, examples=_EXAMPLES, description=_DESCRIPTION, subcommands=list(defaults)
    )
    config = _of_length(parsed, arguments)
    preset = next((defaults[word] for word in map(_dashed, arguments) if word in defaults), config)
    if config.model.encoder == "auto" != preset.model.encoder:  # what suits the preset's network may not suit another
        given = [name for name, value in vars(config.model).items() if value != getattr(preset.model, name)]
        return dataclasses.replace(config, model=config.model.reopened(given))
    return config


def _parse_resume(run: Path, arguments: list[str]) -> Config:
    """The run's settings with the options that resuming takes."""
    from fastsep.runs.directory import load_config

    command = f"python -m fastsep.train --resume {shlex.quote(str(run))}"
    presets = all_presets()
    if arguments and arguments[0] in {*presets, *map(_dashed, presets)}:
        raise UserError(f"a run that goes on keeps its preset: leave out {arguments[0]}, as in {command}")
    before = load_config(run)
    kind: Any = Annotated[Config, tyro.conf.OmitArgPrefixes]
    text = (
        f"Continue a run from its newest checkpoint. It keeps its settings but for {', '.join(at_resume())}; all "
        "others are listed, too, and refused where they are not the run's."
    )
    parsed = cli.parse(
        kind, f"train --resume {shlex.quote(str(run))}", arguments, pairs=True, description=text, default=before
    )
    config = _of_length(parsed, arguments)
    check_resumable(before, config)
    return config


def _dashed(name: str) -> str:
    return name.replace("_", "-")


if __name__ == "__main__":
    entry.run(main, several=True)
