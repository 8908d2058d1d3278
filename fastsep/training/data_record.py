"""Which data a run was trained on, kept in its ``data.json``, so that scores on others say so."""

from __future__ import annotations

import json
from pathlib import Path

from fastsep.data.base import DataConfig
from fastsep.data.fingerprint import fingerprint
from fastsep.data.windows import Windows
from fastsep.errors import UserError, warn
from fastsep.files import write_problem, write_text

NAME = "data.json"


def compare_data(run: Path, config: DataConfig, windows: Windows) -> bool:
    """Whether the run was trained on these data; if not, a warning says so. The first call keeps which they are.

    Raises:
        UserError: frames that are made of other places than those trained on; a record that cannot be written.
    """
    same = same_data(run, config, windows)
    if same is None:
        value = {"fingerprint": fingerprint(config), "layout": windows.layout, "description": windows.description}
        try:
            write_text(run / NAME, json.dumps(value, indent=2) + "\n")
        except OSError as error:
            raise write_problem(run / NAME, error, "choose another --out") from None
    return same is not False


def same_data(run: Path, config: DataConfig, windows: Windows) -> bool | None:
    """Whether the run was trained on these data; None where it holds no record of that. If not, a warning says so.

    Raises:
        UserError: frames that are made of other places than those trained on, which no score could show.
    """
    try:
        value = json.loads((run / NAME).read_text())
        known, layout = str(value["fingerprint"]), str(value["layout"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if layout != windows.layout:
        raise UserError(
            f"the data's frames are {windows.layout or 'whole'}, the run was trained on {layout or 'whole ones'}: "
            "give such data with --data"
        )
    same = fingerprint(config) == known
    if not same:
        warn(f"{config.path or 'what is made in memory'}: these are not the data that the run was trained on")
    return same
