"""The search for schedules as tables: what won, what lost, error by horizon beside the published schedule."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from bench.reporting.results_files import Device
from bench.rows import NOT_MEASURED
from fastsep.config import PARTS
from fastsep.settings import settings_of

FRAMES = (1, 5, 10, 20, 30, 40)
"""Frames of the forecast whose errors are shown."""
INTRODUCTION = """\
Written by `python -m bench.schedules`, which trains a preset with one setting changed after the other; the first line
of each table is the best. *Last weights* is the score of the weights as the last step left them, where those that are
scored are averages over steps (`--ema`). A setting that is not named is the preset's. Rows marked *taken out* hold one
that lost and that the program no longer has."""
_SETTINGS = {setting.name for part in PARTS.values() for setting in settings_of(part)}


def schedules_section(device: Device, elsewhere: Sequence[Device] = ()) -> str:
    """All schedules that were tried on a device; of the published ones runs on any device may stand beside them."""
    lines = ["### Schedules tried: WaveEq, MSE at t+40 on all test windows\n", INTRODUCTION.replace("\n", " ") + "\n"]
    for (preset, steps), tried in _by_length(device):
        time = "time" if device.is_gpu else "time (threads)"
        lines += [f"{preset}, {steps:,} steps:\n", f"| settings | seeds | {time} | MSE at t+40 | last weights |"]
        lines += ["|---|---|---|---|---|", *(f"| {' | '.join(_cells(rows, device.is_gpu))} |" for rows in tried), ""]
    return "\n".join([*lines, *_by_frame(device, elsewhere)]) + "\n"


def best_schedules(devices: Sequence[Device]) -> list[str]:
    """A table of the best settings of each preset and length, by device; empty where none were searched for.

    A length that does no better than a shorter one is left out.
    """
    lines = []
    for device in devices:
        lowest: dict[str, float] = {}
        for (preset, steps), tried in _by_length(device):
            offered = [rows for rows in tried if _offered(rows[0]["choice"])]
            if not offered:
                continue
            best = offered[0]
            scores, last = _better_scores(best)
            if not scores or _error(best) >= lowest.get(preset, float("inf")):
                continue
            lowest[preset] = _error(best)
            _, seeds, time, *_ = _cells(best, device.is_gpu)
            # The last weights are what the same settings without averages give.
            choice = {name: value for name, value in best[0]["choice"].items() if name != "ema" or not last}
            cells = (device.name, preset, named(choice), seeds, str(steps), time, _spread(scores))
            lines.append(f"| {' | '.join(cells)} |")
    head = "| device | preset | settings | seeds | steps | time (threads) | MSE at t+40 |"
    return [head, "|" + "---|" * (head.count("|") - 1), *lines] if lines else []


def _by_length(device: Device) -> Iterator[tuple[tuple[str, int], list[list[dict[str, Any]]]]]:
    """Preset and steps, and what was tried with them."""

    def of_length(row: dict[str, Any]) -> tuple[str, int]:
        return row["preset"], row["steps"]

    for length, rows in groupby(sorted(device.schedules, key=of_length), key=of_length):
        yield length, _tried(list(rows))


def _tried(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows of the same settings together, the best first, those that broke down last."""
    together: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        together.setdefault(named(row["choice"]), []).append(row)
    return sorted(together.values(), key=_error)


def _error(rows: list[dict[str, Any]]) -> float:
    """The mean over seeds of the better of averaged and last weights; infinite where one broke down."""
    scores, _ = _better_scores(rows)
    return statistics.mean(scores) if scores else float("inf")


def _better_scores(rows: list[dict[str, Any]]) -> tuple[list[float], bool]:
    """A score a seed, of averaged or of last weights, whichever are better on average, and whether of the last.

    Empty where one broke down.
    """
    kinds = {last: [row.get("mse_last" if last else "mse") for row in rows] for last in (False, True)}
    whole = {last: scores for last, scores in kinds.items() if None not in scores}
    last = min(whole, key=lambda last: statistics.mean(whole[last]), default=False)
    return whole.get(last, []), last


def _cells(rows: list[dict[str, Any]], on_gpu: bool) -> tuple[str, ...]:
    """Settings, number of seeds, time, score, score of the last weights where those are others."""
    seconds = [row["seconds"] for row in rows if row.get("seconds")]
    time = f"{statistics.median(seconds):.0f} s" if seconds else NOT_MEASURED
    time += f" ({rows[0]['threads']})" if seconds and not on_gpu else ""
    broke = next((row["broke"] for row in rows if row.get("broke")), None)
    score = broke or _spread([row["mse"] for row in rows])
    last = [row["mse_last"] for row in rows if row.get("mse_last") is not None]
    return named(rows[0]["choice"]), str(len(rows)), time, score, _spread(last) if last else ""


def named(choice: dict[str, Any]) -> str:
    """Settings as they are given on the command line."""
    names = (f"--{name.replace('_', '-')} {'none' if value is None else value}" for name, value in choice.items())
    mark = "" if _offered(choice) else " (*taken out*)"
    return f"`{' '.join(names)}`{mark}" if choice else "as the preset"


def _offered(choice: dict[str, Any]) -> bool:
    """Whether the program still has these settings."""
    return choice.keys() <= _SETTINGS


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1e}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2e}{deviation}"


def _by_frame(device: Device, elsewhere: Sequence[Device]) -> list[str]:
    """Error of single frames: the best schedule of each preset, and the best preset, beside the published one."""
    runs = dict.fromkeys(run["run"] for run in device.runs if run["run"].endswith("-best"))
    rows: dict[str, list[float]] = {}
    for name, curve in (*best_curves(device), *(row for run in runs for row in _of_run(device, run))):
        rows[name] = curve
        published = f"{re.split('[_-]', name.split(',')[0])[0]}-published"
        rows |= next(filter(None, (_of_run(other, published) for other in (device, *elsewhere))), [])
    if not rows:
        return []
    head = " | ".join(f"t+{frame}" for frame in FRAMES)
    lines = ["Error of single frames:\n", f"| schedule | {head} |", "|---|" + "---|" * len(FRAMES)]
    for name, curve in rows.items():
        cells = (f"{curve[frame - 1]:.2e}" if frame <= len(curve) else "" for frame in FRAMES)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def best_curves(device: Device) -> Iterator[tuple[str, list[float]]]:
    """Of each preset the best training, taken out or not: what it was, and its error by frame."""
    for preset in dict.fromkeys(row["preset"] for row in device.schedules):
        mine = [row for row in device.schedules if row["preset"] == preset and row.get("curve")]
        if mine:
            best = min(mine, key=lambda row: _error([row]))
            last = best.get("mse_last") is not None and best["mse_last"] < best["mse"]
            weights = "last weights" if last else "averages" if best.get("mse_last") is not None else "weights"
            name = f"{preset}, {best['steps']:,} steps, {named(best['choice'])}, seed {best['seed']}, {weights}"
            yield name, best["curve_last" if last else "curve"]


def _of_run(device: Device, run: str) -> list[tuple[str, list[float]]]:
    """The run's mean curve over the seeds that went furthest."""
    ends = [found["scores"][-1] for found in device.runs if found["run"] == run and found.get("scores")]
    if not ends:
        return []
    step = max(end["step"] for end in ends)
    curves = [end["metrics"]["curves"]["model"]["mse"] for end in ends if end["step"] == step]
    mean = [statistics.mean(values) for values in zip(*curves, strict=True)]
    seeds = f"{len(curves)} seed{'s' if len(curves) > 1 else ''}"
    return [(f"{run}, {step:,} steps, {seeds}, on {device.name}", mean)]
