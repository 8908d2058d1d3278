"""Scores of several runs side by side: mean and standard deviation over runs that differ in their seed alone."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from fastsep.config import PARTS, Config
from fastsep.drawing.comparison import comparison_figure
from fastsep.drawing.style import save, styled
from fastsep.errors import UserError, warn
from fastsep.evaluation.report import number, table
from fastsep.evaluation.run import METRICS
from fastsep.files import require_suffix, require_writable, write_problem, write_text
from fastsep.runs.directory import checkpoint_folders, load_config
from fastsep.runs.starts import read_starts
from fastsep.settings import settings_of

_STEP = "step"
_SAME = 1e-6
"""How far, relatively, baselines of the same test windows may lie apart: sums may be added up in another order."""


class Scored(NamedTuple):
    """A run and what ``metrics.json`` holds of it."""

    run: Path
    config: Config
    result: dict[str, Any]

    def settings(self) -> dict[str, Any]:
        """What its scores depend on beside its seed: settings by their names on a command line, and the step scored."""
        parts = [getattr(self.config, name) for name in PARTS if name != "run"]
        kept = [(part, setting) for part in parts for setting in settings_of(type(part)) if not setting.at_resume]
        values = {setting.flag: getattr(part, setting.name) for part, setting in kept}
        optim, starts = self.config.optim, self.result.get("starts")
        if optim.schedule == "one_cycle":  # whose rates follow from its length
            values |= {"--steps": optim.steps, "--epochs": optim.epochs}
        values["--precision"] = starts[-1].get("precision") if starts else None
        chosen = {f"--{name}": bool(self.result.get(name)) for name in ("best", "whole")}
        return values | chosen | {_STEP: self.result["step"]}


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    label: str
    """The settings that tell it from the other groups, as they are given on a command line."""
    members: tuple[Scored, ...]

    @property
    def name(self) -> str:
        """With its number of runs."""
        return f"{self.label}, {len(self.members)} run{'s' if len(self.members) > 1 else ''}"

    def values(self, kind: str, score: str, horizon: str) -> list[float | None]:
        """A number a run; None where a forecast was not finite, and none where a run has no such score."""
        found = []
        for member in self.members:
            part = member.result.get(kind, {})
            values = (part.get("model", {}) if kind == "scores" else part).get(score, {})
            if horizon in values:
                found.append(values[horizon])
        return found if len(found) == len(self.members) else []

    def curves(self, score: str) -> list[list[float]]:
        """The score of each frame alone, a list a run; NaN where a forecast was not finite."""
        curves = [member.result["curves"]["model"][score] for member in self.members]
        return [_finite(curve) for curve in curves]


@dataclass(frozen=True)
class Comparison:
    """Groups of runs that were scored on the same data."""

    dataset: str
    labels: dict[str, str]
    """What each score is called."""
    horizons: list[str]
    """Those up to which all runs have means."""
    groups: tuple[Group, ...]

    @property
    def first(self) -> dict[str, Any]:
        """The scores of the first run, whose baselines stand for all."""
        return self.groups[0].members[0].result

    def rows(self, kind: str) -> Iterator[tuple[str, str, str, list[float | None]]]:
        """Score, who has it, horizon, and its value for each run; baselines last.

        Args:
            kind: ``scores``, or ``swap`` for those of swapped sequences.
        """
        for score in self.labels:
            baselines = {name: values for name, values in self.first["scores"].items() if name != "model"}
            for group in self.groups:
                for horizon in self.horizons:
                    if values := group.values(kind, score, horizon):
                        yield score, group.name, horizon, values
            for name, values in baselines.items() if kind == "scores" else ():
                for horizon in self.horizons:
                    if horizon in values.get(score, {}):
                        yield score, name, horizon, [values[score][horizon]]


def compare_runs(runs: Sequence[Path | str]) -> Comparison:
    """The scores of runs, as ``metrics.json`` in their directories has them.

    Raises:
        UserError: what is no run, is not scored, or was scored on other data than the rest.
    """
    known = {Path(run).resolve(): Path(run) for run in runs}  # each once, whatever it is called
    scored = [_read(run) for run in known.values()]
    if not scored:
        raise UserError("no run is given: name the directories that training wrote")
    first, *others = scored
    for other in others:
        _check_alike(first, other)
    horizons = [
        horizon
        for horizon in next(iter(first.result["scores"]["model"].values()))
        if all(horizon in values for each in scored for values in each.result["scores"]["model"].values())
    ]
    if not horizons:
        raise UserError(f"{first.run} and the others have no horizon in common: evaluate all with the same --horizon")
    return Comparison(first.result["dataset"], first.result["labels"], horizons, _grouped(scored))


def format_comparison(comparison: Comparison) -> str:
    """The scores as text: mean ± standard deviation over the runs of each group."""
    windows = comparison.first["windows"]
    parts = [f"{comparison.dataset}, {windows:,} test windows: mean ± standard deviation over runs"]
    columns = [f"t+{horizon}" for horizon in comparison.horizons]
    for kind, title in (("scores", "mean over the frames up to"), ("swap", "swapped, mean over the frames up to")):
        cells: dict[tuple[str, str], dict[str, str]] = {}
        for score, who, horizon, values in comparison.rows(kind):
            cells.setdefault((comparison.labels[score], who), {})[horizon] = spread(values)
        rows = [([*names], [of.get(horizon, "") for horizon in comparison.horizons]) for names, of in cells.items()]
        parts += [table(title, columns, rows)] if rows else []
    return "\n\n".join(parts)


def as_csv(comparison: Comparison) -> str:
    """A line for each score, group and horizon: number of runs, mean, standard deviation, the value of each run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "scored", "score", "frames", "who", "runs", "mean", "deviation", "values", "seeds"])
    seeds = {group.name: " ".join(str(each.config.run.seed) for each in group.members) for group in comparison.groups}
    labels = {group.name: group.label for group in comparison.groups}
    for kind, name in (("scores", "forecast"), ("swap", "swapped")):
        for score, who, horizon, values in comparison.rows(kind):
            finite = [value for value in values if value is not None]
            mean = statistics.mean(finite) if len(finite) == len(values) else ""
            deviation = statistics.stdev(finite) if len(finite) == len(values) > 1 else ""
            each = " ".join("" if value is None else repr(value) for value in values)
            who, of = labels.get(who, who), seeds.get(who, "")
            writer.writerow([comparison.dataset, name, score, horizon, who, len(values), mean, deviation, each, of])
    return text.getvalue()


def write_comparison(comparison: Comparison, table: Path | None = None, figure: Path | None = None) -> list[Path]:
    """Write the comparison as CSV and draw it, each where a file is named; returns what was written.

    Raises:
        UserError: a file of another format, or one that cannot be written.
    """
    for path, suffixes, option in ((table, (".csv",), "--csv"), (figure, (".png", ".pdf", ".svg"), "--figure")):
        if path is not None:
            require_suffix(path, suffixes, option)
    if table is not None:
        try:
            require_writable(table)
            write_text(table, as_csv(comparison))
        except OSError as error:
            raise write_problem(table, error, "choose another --csv") from None
    if figure is not None:
        with styled():
            save(_figure(comparison), figure)
    return [path for path in (table, figure) if path is not None]


def _figure(comparison: Comparison) -> Figure:
    look = comparison.groups[0].members[0].config.data.appearance
    labels = {
        score: label for score, label in comparison.labels.items() if score in comparison.first["curves"]["model"]
    }
    groups = {group.name: {score: group.curves(score) for score in labels} for group in comparison.groups}
    baselines = {
        name: {score: _finite(curve) for score, curve in scores.items()}
        for name, scores in comparison.first["curves"].items()
        if name != "model"
    }
    title, step = (look.title, look.step) if look else (comparison.dataset, "frames")
    return comparison_figure(title, labels, groups, baselines, step)


def spread(values: list[float | None]) -> str:
    """Mean ± standard deviation (of a sample) in as many digits as tell something."""
    finite = [value for value in values if value is not None]
    if len(finite) < len(values):
        return f"{len(values) - len(finite)} of {len(values)} not finite"
    mean = number(statistics.mean(finite))
    if len(finite) == 1:
        return mean
    deviation = statistics.stdev(finite)
    return f"{mean} ± {deviation:.1e}" if "e" in mean else f"{mean} ± {deviation:.2g}"


def _finite(curve: list[float | None]) -> list[float]:
    """With NaN for what JSON has no number for."""
    return [math.nan if value is None else value for value in curve]


def _read(run: Path) -> Scored:
    home = _home(run)
    config = load_config(home)
    remedy = f"python -m fastsep.evaluate {quote(str(run))}"
    try:
        result = json.loads((run / METRICS).read_bytes())
        _check(result)
        step = result["step"]
    except FileNotFoundError:
        raise UserError(f"{run} is not scored: {remedy}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{run / METRICS} holds no scores that can be read: {remedy}") from None
    newest = max((int(folder.name.removeprefix("step-")) for folder in checkpoint_folders(home)), default=step)
    if newest > step and not result.get("best"):
        warn(f"{run} was scored at step {step:,} and has come to {newest:,} since: {remedy}")
    elif result.get("starts", []) != read_starts(home) and "starts" in result:
        warn(f"{run / METRICS} is not of the last training there: {remedy}")
    return Scored(run, config, result)


def _home(run: Path) -> Path:
    """The run whose scores lie in ``run``: itself, or the one that was evaluated with ``--out``."""
    if not (run / "config.json").exists():
        try:
            return Path(json.loads((run / METRICS).read_bytes())["run"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass  # what is no run says so itself
    return run


def _check(result: Any) -> None:
    """Raise ValueError, KeyError, TypeError or AttributeError for what ``evaluate_run`` does not write."""
    labels, scores, curves = result["labels"], result["scores"], result["curves"]
    whole = (result["step"], result["windows"])
    texts = (result["dataset"], *labels, *labels.values())
    if not all(type(value) is int for value in whole) or not all(isinstance(text, str) for text in texts):
        raise ValueError
    swap = result.setdefault("swap", {})
    by_horizon = [values for of in (*scores.values(), swap) for values in of.values()]
    numbers = [value for values in by_horizon for value in values.values()]
    numbers += [value for of in curves.values() for values in of.values() for value in list(values)]
    if not all(value is None or type(value) in (int, float) for value in numbers):
        raise ValueError
    starts = result.get("starts", [])
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise ValueError
    kept = scores["model"].keys() & curves["model"].keys()
    if not scores["model"] or not all(name in kept or name in swap for name in labels):
        raise ValueError


def _check_alike(first: Scored, other: Scored) -> None:
    """Raise UserError where two runs were scored on other data; warn where it was on other windows of them."""
    names = [each.result["dataset"] for each in (first, other)]
    if names[0] != names[1]:
        raise UserError(f"{first.run} forecasts {names[0]} and {other.run} {names[1]}: compare runs on the same data")
    if first.result["labels"] != other.result["labels"]:
        raise UserError(f"{first.run} and {other.run} have other scores or units: compare runs on the same data")
    windows = [each.result["windows"] for each in (first, other)]
    if windows[0] != windows[1] or not all(map(_close, _baselines(first, other), _baselines(other, first))):
        warn(
            f"{other.run} was scored on other test windows ({windows[1]:,}) than {first.run} ({windows[0]:,}): "
            "compare them with care"
        )


def _baselines(one: Scored, other: Scored) -> list[float | None]:
    """Scores of the predictors that learn nothing, where both runs have them."""
    mine, theirs = one.result["scores"], other.result["scores"]
    return [
        value
        for name in sorted(mine.keys() & theirs.keys() - {"model"})
        for score in sorted(mine[name].keys() & theirs[name].keys())
        for horizon, value in sorted(mine[name][score].items())
        if horizon in theirs[name][score]
    ]


def _close(one: float | None, other: float | None) -> bool:
    return one == other if None in (one, other) else math.isclose(one, other, rel_tol=_SAME)


def _grouped(scored: list[Scored]) -> tuple[Group, ...]:
    """Runs of the same settings together, in the order in which they are given."""
    together: dict[str, list[Scored]] = {}
    for each in scored:
        together.setdefault(repr(sorted(each.settings().items())), []).append(each)
    for members in together.values():
        seeds = [each.config.run.seed for each in members]
        if len(set(seeds)) < len(seeds):
            runs = " and ".join(str(each.run) for each in members if seeds.count(each.config.run.seed) > 1)
            warn(f"{runs} have the same settings and seeds: their spread says little")
    settings = [members[0].settings() for members in together.values()]
    names = dict.fromkeys(name for each in settings for name in each)
    telling = [name for name in names if len({repr(each.get(name)) for each in settings}) > 1]
    return tuple(
        Group(_label(each, telling), tuple(members)) for each, members in zip(settings, together.values(), strict=True)
    )


def _label(settings: dict[str, Any], telling: list[str]) -> str:
    words = " ".join(_word(name, settings[name]) for name in telling if name in settings and name != _STEP)
    step = f"step {settings[_STEP]:,}" if _STEP in telling else ""
    return ", ".join(filter(None, (words, step))) or "model"


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"without {name}"
    items = value if isinstance(value, tuple) else (value,)
    return " ".join([name, *("none" if item is None else str(item) for item in items)])
