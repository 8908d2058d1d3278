"""Forecasts every sequence of a file into another, a few at a time.

Letters: N sequences, n conditioning frames, h forecast horizon, C channels; ``*space`` the other axes of a frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

import numpy as np

from fastsep import __version__
from fastsep.data.disk_space import require_space
from fastsep.data.frames.showing import last_row, step_of
from fastsep.data.frames.source import Source
from fastsep.data.residency import require_memory
from fastsep.data.scaling import Scaling
from fastsep.errors import UserError, warn
from fastsep.files import make_directory, write_problem
from fastsep.inference.forecaster import Forecaster, load
from fastsep.inference.given import FrameFile, open_given
from fastsep.inference.outputs import Plan, output_of
from fastsep.machine.memory import keep_freed_memory
from fastsep.progress import progress_bar
from fastsep.room import frames_at_once
from fastsep.runs.data_record import warn_of_other_frames

_OTHER_OUT = "choose another --out"


def forecast_file(
    run: Path,
    data: Path,
    out: Path,
    horizon: int,
    motion: Path | None = None,
    animate: Path | None = None,
    variable: tuple[str, ...] = (),
    layout: str | None = None,
    every: int | None = None,
    best: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> list[str]:
    """Forecast ``horizon`` frames after each sequence of ``data``, in the data's units, into ``out``.

    Args:
        run: run directory.
        data: file or folder of frames, whose last n of each sequence count.
        out: ``.h5``, ``.npy``, ``.npz`` or ``.nc``.
        motion: frames whose motion the forecasts take on: as many sequences as ``data`` has, or one for all.
        animate: a ``.gif`` to draw the first sequence's forecast into.
        variable: variables of the files, stacked as channels; by default as the run was trained.
        layout: axes of the files; by default as the run was trained.
        every: keep every K-th frame; by default as the run was trained.
        best: take the checkpoint with the least error in validation instead of the newest.
        device: auto, cpu, cuda or cuda:N.
        progress: show a bar.

    Returns:
        What was done, in lines.

    Raises:
        UserError: no run, files that do not fit it, an output that cannot be written.
    """
    output = output_of(out)
    _check_places(out, animate, [data, *([motion] if motion else [])])
    model = load(run, device, best)
    trained_on = model.config.data.path
    _check_places(out, animate, [trained_on] if trained_on else [], "the run was trained on")
    if model.backwards:
        raise UserError(f"{run} goes back in time, as published: train with --order chronological to forecast a file")
    if model.device.type == "cpu":
        keep_freed_memory()
    with ExitStack() as stack:
        how = variable, layout, every
        content = _open(stack, data, model, *how)
        other = None if motion is None else _open(stack, motion, model, *how)
        for one in filter(None, (content, other)):
            warn_of_other_frames(run, one.path, step_of(one.source, one.every), last_row(one.source))
        _check_places(out, animate, [file for one in (content, other) if one for file in one.source.files])
        if other is not None and other.source.sequences not in (1, content.source.sequences):
            raise UserError(
                f"{motion} holds {other.source.sequences} sequences, {data} {content.source.sequences}: --motion takes "
                "as many, or one for all"
            )
        plan = _plan(model, content, motion, horizon, run)
        require_memory(3 * plan.size // plan.shape[0], f"a forecast of {horizon:,} frames", "give a shorter --horizon")
        require_space(out.parent, plan.size)
        shown, diverged = None, 0
        try:
            make_directory(out.parent)
            with output(out, plan) as write:
                for first, frames, future in _forecasts(model, content, other, horizon, progress):
                    write(future)
                    diverged += _count_diverged(future, content.present)
                    shown = (frames[0], future[0]) if first == 0 else shown
        except OSError as error:
            raise write_problem(out, error, _OTHER_OUT) from None
    if diverged:
        warn(f"{diverged:,} of {plan.shape[0]:,} forecasts in {out} are not finite: give a shorter --horizon")
    lines = [content.source.description, f"{out}: {plan.shape} float32, step {model.step} of {run}"]
    if animate is not None:
        from fastsep.inference.animate import animate_forecast

        try:
            lines.append(str(animate_forecast(model.config.data.appearance, data, *shown, plan, animate)))
        except UserError as error:
            raise UserError(f"{error} ({out} is written, and whole)") from None
    return lines


def _check_places(out: Path, animate: Path | None, taken: list[Path], what: str = "the forecast is made from") -> None:
    """Raise UserError for a picture that is no GIF, and for outputs that would change what is read."""
    if animate is not None and animate.suffix != ".gif":
        raise UserError(f"{animate} does not end in .gif: name such a file with --animate")
    if animate is not None and (os.path.isdir(animate) or os.path.isfile(animate.parent)):
        raise UserError(f"{animate} cannot be written, as a directory or within a file: choose another --animate")
    for path in (out, *([animate] if animate else [])):
        for source in taken:
            if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(source)):
                inside = "lies in" if source.is_dir() else "is"
                raise UserError(f"{path} {inside} what {what}: write it elsewhere")


def _count_diverged(future: np.ndarray, present: np.ndarray | None) -> int:
    """Forecasts (b, h, C, *space) that hold a number that is not finite where a cell is measured."""
    finite = np.isfinite(future) if present is None else np.isfinite(future) | ~present
    return int((~finite.reshape(len(future), -1).all(1)).sum())


def _open(stack: ExitStack, path: Path, model: Forecaster, variable: tuple[str, ...], *how) -> FrameFile:
    given = open_given(path, model, variable, *how)
    stack.callback(given.source.close)
    source, trained = given.source, model.scaling
    renamed = not variable and source.names and trained.names and source.names != trained.names
    if renamed or any(a and b and a != b for a, b in zip(source.units, trained.units, strict=False)):
        warn(f"{path}: forecast as if {_channels(source)} were {_channels(trained)}, which the run was trained on")
    return given


def _channels(of: Source | Scaling) -> str:
    pairs = zip_longest(of.names, of.units, fillvalue="")
    return ", ".join(f"{name} [{unit}]" if unit else name for name, unit in pairs)


def _plan(model: Forecaster, content: FrameFile, motion: Path | None, horizon: int, run: Path) -> Plan:
    source = content.source
    facts = {
        "source": f"fastsep {__version__}", "run": str(run), "step": model.step, "input": str(content.path),
        "horizon": horizon, "nt_cond": model.nt_cond, "every": content.every,
    }  # fmt: skip
    facts |= {} if motion is None else {"motion": str(motion)}
    names, units = source.names or model.scaling.names, source.units or model.scaling.units
    return Plan((source.sequences, horizon, *model.shape), names, units, facts, source, content.every)


def _forecasts(
    model: Forecaster, content: FrameFile, motion: FrameFile | None, horizon: int, progress: bool
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Some sequences at a time: the first one's number, what they are forecast from, (b, n, C, *space), and how they
    go on, (b, h, C, *space)."""
    total = content.source.sequences
    step = max(1, frames_at_once(model.config.model, model.device) // (horizon + model.nt_cond))
    with progress_bar(total=total, desc="forecasts", unit="seq", disable=not progress) as bar:
        for first in range(0, total, step):
            rows = range(first, min(first + step, total))
            frames = np.stack([content.read(row) for row in rows])
            moving = frames if motion is None else np.stack([motion.read(row) for row in rows])
            try:
                future = model.swap(frames, moving, horizon)
            except ValueError as error:
                blamed = motion.path if motion is not None and str(error).startswith("motion") else content.path
                raise UserError(f"{blamed}: {error}") from None
            yield first, frames, future
            bar.update(len(rows))
