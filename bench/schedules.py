"""Search for the schedule with the best scores: one setting after the other, each at its best so far.

``python -m bench.schedules wave100_onecycle --steps 1500`` trains the preset, then walks along the axes: of each it
tries every value, keeps the best by mean squared error at t+40 over all test windows, and goes on from there. Every
training is a line of ``bench/results/<device>/schedules/<preset>.jsonl`` and is not repeated when the search is started
again; one that was interrupted goes on from its newest checkpoint in ``runs/schedules``. ``--try lr=2e-3 ema=0.999``
trains one choice instead, and ``--seed N`` with another seed. ``python -m bench.report`` makes the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from bench.environment import RESULTS, describe, slug
from bench.recorder import append
from bench.reproduce import miniature, training_seconds
from bench.rows import read_lines
from fastsep import entry
from fastsep.config import Config
from fastsep.errors import UserError
from fastsep.files import make_directory
from fastsep.presets import PRESETS

Choice = dict[str, Any]
"""Settings by name that differ from the preset's."""

AXES: dict[str, tuple[Choice, ...]] = {
    "code": ({"lamb_t": 1e-3}, {"lamb_t": 1e-4}, {"lamb_t": 1e-5}, {"lamb_t": 0.0}),
    "climb": ({"warm_up": 0.3}, {"warm_up": 0.15}, {"warm_up": 0.1}, {"warm_up": 0.05}),
    "peak": ({"lr": 5e-4}, {"lr": 1e-3}, {"lr": 1.5e-3}, {"lr": 2e-3}, {"lr": 3e-3}),
    "clip": ({"clip_norm": 0.05}, {"clip_norm": 0.1}, {"clip_norm": 0.3}, {"clip_norm": None}),
    "batch": ({"batch_size": 128}, {"batch_size": 64}, {"batch_size": 256, "accumulate": 2}),
    "end": ({"final_rate": 4e-6}, {"final_rate": 0.01}, {"final_rate": 0.1}),
    "average": ({"ema": 0.99}, {"ema": 0.995}, {"ema": 0.999}),
    "moments": ({"beta2": 0.95}, {"beta2": 0.99}, {"beta2": 0.999}),
    "prediction": ({"lamb_pred": 45.0}, {"lamb_pred": 100.0}),
    "invariance": ({"lamb_s": 45.0}, {"lamb_s": 10.0}, {"lamb_s": 1.0}),
    "windows": ({"nt_pred": 20}, {"nt_pred": 30}, {"nt_pred": 40}),
}
"""Settings to try, in the order in which they are walked along."""
START: Choice = {"ema": 0.99}
"""Averages are kept from the start: they change nothing in training, and both weights are scored."""


def differences(config: Config, choice: Choice) -> Choice:
    """What of ``choice`` differs from ``config``, sorted by name: equal trainings have equal ones."""
    known = asdict(config.model) | asdict(config.objective) | asdict(config.optim)
    for name in choice:
        if name not in known:
            raise UserError(f"there is no setting {name} of model, objective or schedule")
    return {name: value for name, value in sorted(choice.items()) if known[name] != value}


def walk(start: Choice, axes: dict[str, tuple[Choice, ...]], error: Callable[[Choice], float]) -> Iterator[Choice]:
    """The best choice after each axis, beginning with ``start``; of the others every value is tried at the best one."""
    best, lowest = start, error(start)
    yield best
    for values in axes.values():
        origin = best
        for value in values:
            candidate = {**origin, **value}
            found = lowest if candidate == best else error(candidate)
            if found < lowest:
                best, lowest = candidate, found
        yield best


class Search:
    """Trains choices for one preset, or remembers what was trained.

    Args:
        preset: its name.
        steps: of each training.
        results: file of lines; what it holds is not trained again.
        runs: where trainings lie until they are scored.
        dry: narrow networks and a handful of sequences.
        deadline: ``time.monotonic()`` after which no training is begun.
    """

    def __init__(
        self, preset: str, steps: int, seed: int, results: Path, runs: Path, device: torch.device, dry: bool = False,
        deadline: float = float("inf"), show: bool = True,
    ):  # fmt: skip
        config = PRESETS[preset]()
        config = miniature(config) if dry else config
        optim = replace(config.optim, steps=steps)
        # Compiling takes longer than a short training on a GPU; only rounding differs.
        run = replace(
            config.run, device=str(device), seed=seed, score=False, compile="off", log_every=min(50, steps),
            checkpoint_every=max(1000, steps // 5),
        )  # fmt: skip
        self.config = replace(config, optim=optim, run=run)
        self.preset, self.steps, self.seed, self.device = preset, steps, seed, device
        self.results, self.runs, self.deadline, self.show = results, runs, deadline, show

    def error(self, choice: Choice) -> float:
        """MSE at t+40 of the better of averaged and last weights; not finite where training broke down.

        Raises:
            TimeoutError: it is not known, and the deadline is past.
        """
        row = self.known(choice)
        if row is None:
            if time.monotonic() > self.deadline:
                raise TimeoutError
            row = self.train(choice)
            make_directory(self.results.parent)
            append(self.results, row)
        errors = [row[name] for name in ("mse", "mse_last") if row.get(name) is not None]
        if self.show:
            print(f"{row['mse']} {row.get('mse_last')} {json.dumps(row['choice'])}", flush=True)
        return min(errors, default=float("inf"))

    def known(self, choice: Choice) -> dict[str, Any] | None:
        """The line of a training that was done before."""
        key = (self.preset, self.steps, self.seed, differences(self.config, choice))
        for row in read_lines(self.results):
            if (row["preset"], row["steps"], row["seed"], row["choice"]) == key:
                return row
        return None

    def train(self, choice: Choice) -> dict[str, Any]:
        """Train and score; the run is removed afterwards."""
        from fastsep.evaluation import evaluate_run
        from fastsep.runs.log_file import read_log
        from fastsep.training.loop import train

        torch.compiler.reset()  # each training compiles its own, and the compiler keeps but a few of each function
        choice = differences(self.config, choice)
        name = hashlib.sha256(f"{self.steps} {self.seed} {json.dumps(choice)}".encode()).hexdigest()[:12]
        run = self.runs / f"{self.preset}-{name}"
        config = self.config.having(**choice)
        config = replace(config, run=replace(config.run, out=run, auto_resume=True))
        row: dict[str, Any] = {
            "preset": self.preset, "steps": self.steps, "seed": self.seed, "choice": choice,
            "environment": describe(self.device), "threads": torch.get_num_threads(),
        }  # fmt: skip
        try:
            trainer = train(config, run, self.show)
        except UserError as error:
            if "not finite" not in str(error) and " is nan" not in str(error) and " is inf" not in str(error):
                raise
            shutil.rmtree(run)
            return {**row, "mse": None, "broke": str(error).split(";")[0]}
        settings = {"device": str(self.device), "figures": False, "progress": False}
        metrics, log = evaluate_run(run, **settings), read_log(run)
        curve = metrics["curves"]["model"]["mse"]
        row |= {
            "precision": str(trainer.take_step.dtype).removeprefix("torch."),
            "seconds": training_seconds(log, config.optim.batch_size), "windows": metrics["windows"],
            "mse": _mean(curve), "curve": _rounded(curve), "s_invariance": log[-1]["s_invariance"],
        }  # fmt: skip
        if config.optim.ema is not None:
            curve = evaluate_run(self._last_weights(trainer, run / "last"), **settings)["curves"]["model"]["mse"]
            row |= {"mse_last": _mean(curve), "curve_last": _rounded(curve)}
        shutil.rmtree(run)
        return row

    def _last_weights(self, trainer: Any, run: Path) -> Path:
        """A run of its own with the weights of the last step, not averaged."""
        from fastsep.runs.checkpoint import save_checkpoint
        from fastsep.runs.directory import create_run

        if not run.exists():
            create_run(run, trainer.config, trainer.windows.scaling)
        save_checkpoint(run, trainer.done, trainer.model)
        return run


def _mean(curve: list[float]) -> float:
    """As published: the mean over the frames to t+40, or to the longest horizon scored."""
    curve = curve[:40]
    return sum(curve) / len(curve)


def _rounded(curve: list[float]) -> list[float]:
    """Four digits are more than seeds agree on."""
    return [float(f"{value:.4g}") for value in curve]


def parse_choice(words: list[str]) -> Choice:
    """``["lr=2e-3", "clip_norm=none"]`` as settings. Raises UserError."""
    choice = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            choice[name.replace("-", "_")] = None if text == "none" else json.loads(text)
        except ValueError:
            equals = ""
        if not equals:
            raise UserError(f"'{word}' is no setting: give NAME=NUMBER, such as lr=2e-3, or NAME=none")
    return choice


def main() -> None:
    """Parse, search, tell what is best."""
    parser = argparse.ArgumentParser("python -m bench.schedules", description=__doc__.splitlines()[0])
    parser.add_argument("preset", choices=[name for name in PRESETS if name.startswith("wave")])
    parser.add_argument("--steps", type=int, required=True, help="of each training")
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="which to walk along, in order")
    parser.add_argument("--try", nargs="+", dest="choice", metavar="NAME=VALUE", help="train this choice alone")
    parser.add_argument("--from", nargs="+", dest="start", metavar="NAME=VALUE", default=[], help="start the walk here")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no training after so many minutes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="folder of the results [bench/results/<device>/schedules]")
    parser.add_argument("--dry-run", action="store_true", help="narrow networks; needs --out")
    given = parser.parse_args()
    if given.dry_run and given.out is None:
        raise UserError("a dry run is no result: give --out with another folder")
    device = torch.device(given.device)
    folder = given.out or RESULTS / slug(device) / "schedules"
    search = Search(
        given.preset, given.steps, given.seed, folder / f"{given.preset}.jsonl", Path("runs") / "schedules", device,
        given.dry_run, time.monotonic() + 60 * given.minutes,
    )  # fmt: skip
    try:
        if given.choice:
            search.error(parse_choice(given.choice))
            return
        for best in walk(
            {**START, **parse_choice(given.start)}, {name: AXES[name] for name in given.axes}, search.error
        ):
            print(f"best so far: {json.dumps(best)}", flush=True)
    except TimeoutError:
        print(f"out of time: start the same again, {search.results} is kept")


if __name__ == "__main__":
    entry.run(main)
