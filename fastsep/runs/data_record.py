"""Which data a run was trained on, kept in its ``data.json``, so that scores on others say so."""

from __future__ import annotations

import json
import math
from pathlib import Path

from fastsep.data.base import DataConfig
from fastsep.data.fingerprint import IN_MEMORY, fingerprint
from fastsep.data.frames.showing import seconds_of
from fastsep.data.windows import Windows
from fastsep.errors import UserError, warn
from fastsep.files import write_problem, write_text

NAME = "data.json"


def record_data(run: Path, config: DataConfig, windows: Windows) -> None:
    """Keep which data the run is trained on, and whether they are read meanwhile; of data that it knows already the
    first record stays, and ``same_data`` says if these are others.

    Raises:
        UserError: as ``same_data``; a record that cannot be written.
    """
    known = _read(run)
    if known is not None:
        same_data(run, config, windows)
        if was_streamed(run) in (None, windows.streamed):
            return
        value = json.loads((run / NAME).read_text())
    else:
        value = {
            "fingerprint": fingerprint(config), "layout": windows.layout, "description": windows.description,
            "step": windows.step, "last_row": windows.last_row,
        }  # fmt: skip
    value["streamed"] = windows.streamed
    try:
        write_text(run / NAME, json.dumps(value, indent=2) + "\n")
    except OSError as error:
        raise write_problem(run / NAME, error, "choose another --out") from None


def was_streamed(run: Path) -> bool | None:
    """Whether the run read its frames while it trained, which has an order of its own; None where that is not known."""
    try:
        value = json.loads((run / NAME).read_text())["streamed"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return value if isinstance(value, bool) else None


def same_data(run: Path, config: DataConfig, windows: Windows) -> bool | None:
    """Whether the run was trained on these data, with a warning if not; None where that cannot be told.

    Raises:
        UserError: frames that are made of other places than those trained on, which no score would show.
    """
    record = _read(run)
    if record is None:
        return None
    known, layout = record
    if layout != windows.layout:
        raise UserError(
            f"the data's frames are {windows.layout or 'whole'}, the run was trained on {layout or 'whole ones'}: "
            "give such data with --data"
        )
    present = fingerprint(config)
    if present == known:
        return True
    if config.tests_alone:
        warn(f"{config.data} holds test data alone: whether they go with those trained on is not known")
        return None
    if IN_MEMORY in (present, known):
        warn(f"the run was trained on {_named(known)}, not on {_named(present)}: whether they are equal is not known")
        return None
    warn(f"{config.path}: these are not the data that the run was trained on")
    warn_of_other_frames(run, config.path, windows.step, windows.last_row)
    return False


def warn_of_other_frames(run: Path, path: Path, step: str, last_row: str) -> None:
    """Warn where frames follow each other in other steps of time than those trained on, or stand upside down.

    Args:
        path: of the frames.
        step: as ``Windows`` have it; so is ``last_row``. What one of both does not know is not compared.
    """
    try:
        known = json.loads((run / NAME).read_text())
        before, row = str(known["step"]), str(known["last_row"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # of an earlier version, or damaged
    lengths = seconds_of(before), seconds_of(step)
    if None not in lengths and not math.isclose(*lengths, rel_tol=0.01):
        warn(f"{path} has {step}, the run was trained on {before}: a forecast goes by the latter")
    if row and last_row and row != last_row:
        warn(f"{path} has the {last_row} in its last row, what the run was trained on the {row}: turn its rows around")


def _named(fingerprint: str) -> str:
    return "data made in memory" if fingerprint == IN_MEMORY else "files"


def _read(run: Path) -> tuple[str, str] | None:
    """Fingerprint and layout; None where there is no record, or one that is no longer whole."""
    try:
        value = json.loads((run / NAME).read_text())
        return str(value["fingerprint"]), str(value["layout"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
