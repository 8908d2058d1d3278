"""Evaluates a run: scores into ``metrics.json``, pictures into ``figures/``."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch

from fastsep import __version__, distributed
from fastsep.config import Config, EvaluateConfig
from fastsep.data.base import Split
from fastsep.data.fingerprint import fingerprint
from fastsep.data.scaling import Scaling
from fastsep.data.windows import Windows
from fastsep.drawing.gallery import draw_figures
from fastsep.errors import UserError, warn
from fastsep.evaluation.forecasting import exact_float32
from fastsep.evaluation.protocols import Protocol
from fastsep.evaluation.scoring import Stopwatch, mean_up_to, score_forecasts, score_swaps
from fastsep.files import make_directory, write_problem, write_text
from fastsep.machine.memory import keep_freed_memory
from fastsep.machine.precision import resolve_device
from fastsep.model import SeparableModel
from fastsep.model_auto import require_shape
from fastsep.runs.checkpoint import Checkpoint, load_model, newest_checkpoint
from fastsep.runs.data_record import same_data
from fastsep.runs.directory import kept_scaling
from fastsep.runs.log_file import read_log
from fastsep.runs.starts import device_name, read_starts

METRICS = "metrics.json"


def evaluate_run(
    run: Path | str,
    *,
    progress: bool = True,
    report: Callable[[dict[str, Any]], None] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Score a checkpoint of ``run`` on the test set of its data set, in float32.

    Several processes (see ``fastsep/distributed.py``) share the windows and come to the same digits; the first one
    reports, writes and draws.

    Args:
        run: run directory.
        progress: show bars.
        report: what to do with the scores as soon as they are there, before anything is written or drawn.
        settings: those of ``EvaluateConfig``, by name.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        UserError: no run, a damaged checkpoint, missing data, a horizon longer than the data, no swap scores for this
            data set, an unwritable run directory.
    """
    run = Path(run)
    given = EvaluateConfig(**settings)
    horizon, swap, batch_size = given.horizon, given.swap, given.batch_size
    if given.whole and given.data is None:
        raise UserError("--whole scores data that were held back from training: give them with --data")
    if given.out is not None:
        _require_place(given.out, run)
    target = resolve_device(given.device)
    if target.type == "cpu":
        keep_freed_memory()
    model, config, checkpoint = load_model(run, target, folded=True, best=given.best)
    if given.data is not None:
        config = dataclasses.replace(config, data=config.data.at(given.data))
    kind: type[Protocol] = resolve_name(config.data.protocol)
    if swap and not kind.swap_metrics:
        raise UserError(f"{config.data.name} has no ground truth for swapped sequences: evaluate without --swap")
    wanted = [horizon] if horizon else [*sorted(kind.horizons, reverse=True), config.objective.nt_pred]
    scaling = kept_scaling(run, config)
    with distributed.current().one_first():
        horizon, windows = _open_longest(config, wanted, target, scaling, "all" if given.whole else "test")
    distributed.current().same(
        (checkpoint.step, horizon, swap, batch_size, len(windows), fingerprint(config.data)),
        lambda rank, first, other: (
            f"rank {rank} does not score what rank 0 scores (step {other[0]}, horizon {other[1]}, {other[4]:,} "
            f"windows; step {first[0]}, horizon {first[1]}, {first[4]:,} windows there): give all ranks the same "
            "options and files, and score a run that nobody trains meanwhile"
        ),
    )
    with exact_float32():
        result = _describe(checkpoint, config, windows, target, horizon)
        result["best"] = given.best
        result["starts"] = read_starts(run)
        result |= {"run": str(run.absolute()), "whole": given.whole}
        result["trained_on_these_data"] = same_data(run, config.data, windows)
        if given.whole and result["trained_on_these_data"]:
            warn(f"the run was trained on a part of {config.data.path}: scores of all of it are no test")
        protocol = kind(config.data, windows)
        result |= _score(model, windows, protocol, horizon, swap, batch_size, progress)
        if not distributed.current().is_first:  # who writes and speaks
            return result
        if report:
            report(result)
        place = given.out or run
        _write(place, result)  # before anything is drawn, which is not what took so long
        if given.figures:
            paths = draw_figures(place, model, config, windows, protocol.labels(), result["curves"], read_log(run))
            result["figures"] = [str(path.relative_to(place)) for path in paths]
            _write(place, result)
    if not all(math.isfinite(value) for curve in result["curves"]["model"].values() for value in curve):
        warn(f"forecasts of {checkpoint.path} are not finite: such scores are null in metrics.json")
    return result


def _require_place(out: Path, run: Path) -> None:
    """Raise UserError where scores cannot lie, or would take the place of another run's."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is no directory: choose another --out")
    if (out / "config.json").exists() and out.resolve() != run.resolve():
        raise UserError(f"{out} holds another run, whose scores would be lost: choose another --out")


def is_scored(run: Path) -> bool:
    """Whether ``metrics.json`` is of the run's newest checkpoint, and drawn."""
    try:
        known = json.loads((run / METRICS).read_bytes())
        step, starts, _ = (known[name] for name in ("step", "starts", "figures"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return step == newest_checkpoint(run, state=False).step and starts == read_starts(run)


def _write(place: Path, result: dict[str, Any]) -> None:
    path = place / METRICS
    try:
        make_directory(place)
        write_text(path, json.dumps(_strict(result), indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise write_problem(path, error, "keep the scores elsewhere with --out") from None


def _strict(value: Any) -> Any:
    """The same with null for numbers that are not finite, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _strict(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_strict(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _open_longest(
    config: Config, horizons: list[int], device: torch.device, scaling: Scaling | None, split: Split
) -> tuple[int, Windows]:
    """The first horizon that the data allow; the first one's error where they allow none."""
    errors = []
    for horizon in horizons:
        try:
            return horizon, _open(config, horizon, device, scaling, split)
        except UserError as error:
            errors.append(error)
    raise errors[0]


def _open(config: Config, horizon: int, device: torch.device, scaling: Scaling | None, split: Split) -> Windows:
    windows = config.data.open(split, config.model.nt_cond, horizon, device, scaling)
    if len(windows) == 0 or windows.length < config.model.nt_cond + horizon:
        raise UserError(f"the test sequences are too short for --horizon {horizon}: give a shorter one")
    require_shape(config.model, windows.shape)
    return windows


def _describe(
    checkpoint: Checkpoint, config: Config, windows: Windows, device: torch.device, horizon: int
) -> dict[str, Any]:
    return {
        "dataset": config.data.name,
        "data": windows.description,
        "step": checkpoint.step,
        "ema": config.optim.ema,  # what is scored are averages over the steps, unless this is null
        "windows": len(windows),
        "conditioning_frames": config.model.nt_cond,
        "horizon": horizon,
        "device": device_name(device),
        "versions": {"fastsep": __version__, "torch": torch.__version__},
    }


def _score(
    model: SeparableModel,
    windows: Windows,
    protocol: Protocol,
    horizon: int,
    swap: bool,
    batch_size: int | None,
    progress: bool,
) -> dict[str, Any]:
    watch = Stopwatch(windows.device)
    curves = score_forecasts(model, windows, protocol, horizon, batch_size, progress, watch)
    horizons = sorted({k for k in protocol.horizons if k <= horizon} | {horizon})
    scores = {
        predictor: {
            name: {str(k): mean_up_to(curve, k, protocol.metrics[name].root) for k in horizons}
            for name, curve in values.items()
        }
        for predictor, values in curves.items()
    }
    result: dict[str, Any] = {"scores": scores, "curves": curves, "labels": protocol.labels()}
    if swap or protocol.always_swap:
        result["swap"] = {
            name: {str(k): value for k, value in values.items()}
            for name, values in score_swaps(model, windows, protocol, horizons, batch_size, progress, watch).items()
        }
    result["seconds"] = {name: round(seconds, 3) for name, seconds in watch.seconds.items()}
    return result
