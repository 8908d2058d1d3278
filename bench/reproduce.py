"""The paper's table again: train to the end, score, keep log, scores and figures (no weights).

``python -m bench.reproduce wave100-published --seed 0`` writes ``bench/results/<device>/reproduction/``. It trains into
``runs/<name>-seed<N>`` and, interrupted, continues there when started again. With ``--until STEP`` it ends at that
score; started again without, it goes on to the end. With ``--run DIR`` it keeps a run that ``python -m fastsep.train``
has finished instead of training.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench.environment import RESULTS, describe, slug
from bench.rows import write_json
from fastsep import entry
from fastsep.config import Config
from fastsep.errors import UserError
from fastsep.presets import PRESETS

STOPS = (1500, 3750, 7500, 11250, 18750)
"""Steps of the published schedules after which the whole test set is scored; the first is the length of our own one."""
STOPS_SMALL = (2,)
CHECKPOINT_EVERY = 750
"""Steps. Divides every stop; minutes of work on a CPU, and seconds in all on a GPU."""
SEEDS = 3
"""Runs of each kind, for error bars."""
LOG_ROWS = 200


@dataclass(frozen=True)
class Run:
    """A training run: its settings, and the steps at which it is scored (none: only at its end)."""

    config: Callable[[], Config]
    stops: tuple[int, ...] = ()


def published(preset: str) -> Config:
    """A published schedule on the published windows."""
    config = PRESETS[preset]()
    return replace(config, data=replace(config.data, windows="published"))


def no_s(config: Config) -> Config:
    """The same run without the static code."""
    model, objective = replace(config.model, no_s=True), replace(config.objective, lamb_t=0.0)
    return replace(config, model=model, objective=objective)


RUNS = {
    "wave100-published": Run(lambda: published("wave100"), STOPS),
    "wave-published": Run(lambda: published("wave"), STOPS),
    "wave100-no-s": Run(lambda: no_s(published("wave100")), STOPS),
    "wave-no-s": Run(lambda: no_s(published("wave")), STOPS),
    "wave100-onecycle": Run(PRESETS["wave100_onecycle"]),
    "wave100-onecycle-no-s": Run(lambda: no_s(PRESETS["wave100_onecycle"]())),
    "wave-onecycle": Run(PRESETS["wave_onecycle"]),
    "wave100-best": Run(PRESETS["wave100_best"]),
    "wave-best": Run(PRESETS["wave_best"]),
}


def reproduce(
    name: str, seed: int, run: Path, device: torch.device, small: bool = False, progress: bool = False,
    until: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train run ``name`` into the directory ``run`` and score it; with ``progress`` also show bars and draw figures.

    A run that was interrupted there goes on from its newest checkpoint; scores that it has are not computed again.
    ``until`` is the last step to train and score; by default all are.

    Returns:
        ``scores`` (after each stop: step, seconds of training so far, metrics of the test set), ``log`` (thinned),
        ``seconds`` of training altogether, settings.
    """
    from fastsep.evaluation import evaluate_run
    from fastsep.machine.precision import precision_name
    from fastsep.runs.checkpoint import find_checkpoint
    from fastsep.runs.directory import create_run, load_config, training_lock
    from fastsep.runs.log_file import read_log
    from fastsep.training.trainer import Trainer

    config = RUNS[name].config()
    if small:
        config = miniature(config)
    config = replace(
        config,
        run=replace(config.run, device=str(device), seed=seed, out=run, checkpoint_every=CHECKPOINT_EVERY, score=False),
    )
    begin = time.perf_counter()
    trainer = Trainer(config, run, progress)
    stops = STOPS_SMALL if small else RUNS[name].stops or (trainer.total_steps,)
    if until is not None and until not in stops:
        raise UserError(f"{name} is not scored after {until} steps: --until takes {', '.join(map(str, stops))}")
    stops = tuple(stop for stop in stops if until is None or stop <= until)
    kept = run / "scores.json"
    scores: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    if (run / "config.json").exists():
        if load_config(run) != config:
            raise UserError(f"{run} holds a run with other settings: remove it, or give it with --run")
        checkpoint = find_checkpoint(run)
        if checkpoint is not None:  # else it ended before the first one: from the start again
            trainer.restore(checkpoint)
    else:
        create_run(run, config)
    setup = time.perf_counter() - begin
    for stop in stops[len(scores) :]:
        trainer.total_steps = stop
        if trainer.done < stop:
            with training_lock(run):
                trainer.fit()
        metrics = evaluate_run(run, device=str(device), figures=progress and stop == stops[-1], progress=progress)
        seconds = training_seconds(read_log(run), config.optim.batch_size)
        scores.append({"step": stop, "seconds": seconds, "metrics": metrics})
        write_json(kept, scores)
    log = read_log(run)
    return {
        "run": name, "dataset": config.data.name, "seed": seed, "precision": precision_name(trainer.take_step.dtype),
        "windows": len(trainer.windows), "batch": config.optim.batch_size, "setup_seconds": round(setup, 2),
        "seconds": scores[-1]["seconds"], "scores": scores, "log": log[:: max(len(log) // LOG_ROWS, 1)],
    }  # fmt: skip


def training_seconds(log: list[dict[str, Any]], batch: int) -> float:
    """What the steps of a log took, from the sequences a second of each row; interruptions do not count."""
    spans = zip([0, *(row["step"] for row in log)], log, strict=False)
    return round(sum((row["step"] - last) * batch / row["sequences_per_second"] for last, row in spans), 2)


def finished(name: str, run: Path) -> tuple[int, dict[str, Any]]:
    """The seed of a finished and scored run directory, and of it what ``reproduce`` would have returned."""
    from fastsep.runs.directory import load_config
    from fastsep.runs.log_file import read_log
    from fastsep.runs.starts import read_starts

    config, log = load_config(run), read_log(run)
    expected = RUNS[name].config()
    if replace(config, run=expected.run) != expected:
        raise SystemExit(f"error: {run} was trained with other settings than {name}")
    metrics = json.loads((run / "metrics.json").read_text())
    batch = config.optim.batch_size
    seconds = training_seconds(log, batch)
    return config.run.seed, {
        "run": name, "dataset": config.data.name, "seed": config.run.seed,
        "precision": starts[-1]["precision"] if (starts := read_starts(run)) else "not known",
        "batch": batch, "seconds": seconds, "log": log[:: max(len(log) // LOG_ROWS, 1)],
        "scores": [{"step": metrics["step"], "seconds": seconds, "metrics": metrics}],
    }  # fmt: skip


def miniature(config: Config) -> Config:
    """The same run with narrow networks and a handful of sequences."""
    from bench.subjects import shrunk

    config = shrunk(config)
    data = replace(config.data, size=5, frames=100)
    return replace(config, data=data, optim=replace(config.optim, batch_size=4))


def main() -> None:
    """Parse, train, score, keep."""
    parser = argparse.ArgumentParser("python -m bench.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=RUNS, help="what to train")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, batches and windows [0]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--until", type=int, metavar="STEP", help="the last score to train for [the end]")
    parser.add_argument("--run", type=Path, help="keep this finished run instead of training")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    place = RESULTS / slug(device) / "reproduction"
    run, seed = arguments.run or Path("runs") / f"{arguments.name}-seed{arguments.seed}", arguments.seed
    if arguments.run:
        seed, value = finished(arguments.name, run)
    else:
        value = reproduce(arguments.name, seed, run, device, progress=True, until=arguments.until)
    title = f"{arguments.name}-seed{seed}"
    write_json(place / f"{title}.json", {"environment": describe(device), **value})
    shutil.copy(run / "log.csv", place / f"{title}.csv")
    for figure in sorted((run / "figures").glob("*.png")):
        shutil.copy(figure, place / f"{title}-{figure.name}")
    print(f"wrote {place / title}.json")


if __name__ == "__main__":
    entry.run(main)
