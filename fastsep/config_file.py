"""``config.json``: the settings of a run as text, with paths that hold from anywhere."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from fastsep.config import PARTS, Config
from fastsep.data import DATASETS
from fastsep.errors import UserError, first_line
from fastsep.settings import settings_of

_RETIRED = "nt_pred_start", "start_share", "nt_decoded"
"""Settings of the objective that earlier versions had. Models that were trained with them are like any others."""


def to_json(config: Config, run: Path | None = None) -> str:
    """The settings as readable text that ``from_json`` turns back into an equal ``Config``.

    Args:
        run: the directory that the text is for. Paths are absolute in it, or relative to it if they lie within, so that
            they hold wherever the next command is started; data in their usual place are named, too.
    """
    values = dataclasses.asdict(config)
    if run is not None:
        values["data"]["data"] = config.data.path and _within(config.data.path, run)
        values["run"]["out"] = "."
    values["data"] = {"dataset": config.data.name, **values["data"]}
    return json.dumps(values, indent=2, default=str) + "\n"


def from_json(text: str, run: Path | None = None, to_train: bool = False) -> Config:
    """Rebuild a ``Config``, with paths as seen from here.

    Args:
        run: the directory that the text lies in.
        to_train: the settings have to say all that steps computed so far.

    Raises:
        UserError: what is no settings, or settings that this version does not know or take.
    """
    where = "config.json" if run is None else str(run / "config.json")
    try:
        values = _dictionary("the file", json.loads(text))
        parts = {name: _dictionary(name, values[name]) for name in PARTS}
        kind = DATASETS[parts["data"].pop("dataset")]
        retired = [(name, parts["objective"].pop(name, None)) for name in _RETIRED]
        config = Config(**{name: _build(cls, parts[name]) for name, cls in (PARTS | {"data": kind}).items()})
    except UserError as error:
        raise UserError(f"{where}: {error}, in that file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is no JSON ({first_line(error)}): mend it, or restore it from a copy") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{where} does not fit this version of fastsep ({first_line(error)}): train again") from None
    for name, value in retired:
        if to_train and name != "start_share" and value is not None:  # a share of nothing, by itself
            raise UserError(
                f"{where}: the run was trained with {name} {value}, which steps do not know any more: score it and "
                "forecast with it as it is, or train anew"
            )
    return config if run is None else _located(config, run)


def _dictionary(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{name} holds no settings")
    return dict(value)


def _build(cls: type, values: dict[str, Any]) -> Any:
    unknown = sorted(set(values) - {setting.name for setting in settings_of(cls)})
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]}")
    return cls(**values)


def _within(path: Path, run: Path) -> str:
    """``path`` as it is written into ``run``."""
    place, home = Path(os.path.abspath(path)), Path(os.path.abspath(run))
    return str(place.relative_to(home) if place.is_relative_to(home) else place)


def _located(config: Config, run: Path) -> Config:
    """Paths as seen from here. Runs from before paths were kept absolute hold some that are relative to a shell."""
    data = config.data.data
    if data is not None and not data.is_absolute() and os.path.lexists(run / data):
        data = run / data
    return dataclasses.replace(
        config, data=dataclasses.replace(config.data, data=data), run=dataclasses.replace(config.run, out=run)
    )
