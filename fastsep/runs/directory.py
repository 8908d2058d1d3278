"""Run directories: whose they are, what settings they were started with, and who trains in them now.

``run.json`` names the run; a checkpoint belongs to it when its manifest carries the same name. Nothing in a run
directory but ``run.json``, ``config.json``, ``data.json``, ``scaling.json``, ``starts.jsonl``, ``choices.json``, the
run's own checkpoints, log, scores and figures is ever counted, loaded, deleted or written over.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from fastsep.config import Config
from fastsep.config_file import from_json, to_json
from fastsep.data.scaling import NAME as SCALING
from fastsep.data.scaling import Scaling
from fastsep.errors import UserError
from fastsep.files import make_directory, write_problem, write_text
from fastsep.locks import holder, lock
from fastsep.runs.manifest import DamagedError, read_manifest

_IDENTITY, _SETTINGS, _DATA, _STARTS, _LOCK = "run.json", "config.json", "data.json", "starts.jsonl", ".lock"
_LEFT_BY_A_KILL = {_LOCK, ".run.part.json", ".config.part.json"}
_CHECKPOINT = re.compile(r"step-[0-9]{8}")
_OTHER_OUT = "choose another --out"
_PROGRAM = "fastsep"


@dataclass(frozen=True)
class Identity:
    """Which run a directory holds."""

    id: str
    adopted: tuple[str, ...] = ()
    """Names of its checkpoints from before there were manifests."""
    launchers: tuple[str, ...] = ()
    """The torchruns that started it: what they start anew goes on with it."""


def check_new(run: Path) -> None:
    """Raise UserError unless a run can start in ``run``: it is absent, empty, or a run of ours without a checkpoint."""
    try:
        names = set(os.listdir(run)) - _LEFT_BY_A_KILL
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{run} is no directory to write to ({error.strerror}): {_OTHER_OUT}") from None
    if not names:
        return
    if not _is_ours(run):
        raise UserError(f"{run} holds what no run of fastsep wrote, such as {min(names)}: {_OTHER_OUT}")
    if checkpoint_folders(run):
        raise UserError(f"{run} already holds a run: continue it with --resume {quote(str(run))}, or {_OTHER_OUT}")


def create_run(run: Path, config: Config, scaling: Scaling | None = None, launchers: Iterable[str] = ()) -> None:
    """Start a run in ``run``: its identity, what its frames are scaled by, and its ``config.json``.

    Args:
        launchers: the torchruns of all ranks, if any.

    Raises:
        UserError: it holds something else, or cannot be written.
    """
    check_new(run)
    try:
        make_directory(run)
        for name in (_SETTINGS, _DATA, _STARTS, SCALING):  # of a start that came to no checkpoint
            (run / name).unlink(missing_ok=True)
        _write_identity(run, Identity(uuid.uuid4().hex, launchers=tuple(sorted(launchers))))
        if scaling is not None:
            scaling.write(run)
        write_text(run / _SETTINGS, to_json(config, run))
    except OSError as error:
        raise write_problem(run / _SETTINGS, error, _OTHER_OUT) from None


def load_config(run: Path, to_train: bool = False) -> Config:
    """The settings of a run. Raises UserError when there is no run, it cannot be read, or not be gone on with."""
    path = Path(run) / _SETTINGS
    try:
        return from_json(path.read_text(encoding="utf-8-sig"), Path(run), to_train)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run} holds no run (no config.json): give the directory that training wrote") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text: restore it from a copy, or train again into another directory") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): mend its rights or ask its owner") from None


def kept_scaling(run: Path, config: Config) -> Scaling | None:
    """What a run's frames are scaled by; None where they enter as they are. Raises UserError where it is damaged or
    gone: the same weights mean nothing in other units."""
    scaling = Scaling.read(run, config.model.shape)
    if scaling is None and config.data.scaled:
        raise UserError(f"{run} lacks its {SCALING}, without which its units are unknown: take the run from a copy")
    return scaling


def update_config(run: Path, config: Config) -> None:
    """Keep the settings that a run goes on with. Raises UserError when they cannot be written."""
    try:
        write_text(run / _SETTINGS, to_json(config, run))
    except OSError as error:
        raise write_problem(run / _SETTINGS, error, "continue with a copy of the run elsewhere") from None


@contextmanager
def training_lock(run: Path, make: bool = False) -> Iterator[None]:
    """Be the only one who trains in ``run`` during the block; ``make`` the directory if absent.

    Raises:
        UserError: another process does, or the directory cannot be written.
    """
    path = run / _LOCK
    with ExitStack() as stack:
        try:
            if make:
                make_directory(run)
            stack.enter_context(lock(path))
        except BlockingIOError:
            raise UserError(f"{run} is being trained by {holder(path)}: wait until it ends, or stop it first") from None
        except OSError as error:
            raise write_problem(path, error, _OTHER_OUT if make else "continue with a copy of it elsewhere") from None
        yield


def identity(run: Path) -> Identity | None:
    """Which run this is; None where ``run.json`` is absent (runs from before there was one) or damaged."""
    values = _identity_file(run)
    if values is None or not isinstance(values.get("id"), str):
        return None
    try:
        adopted, launchers = (tuple(map(str, values.get(name, ()))) for name in ("adopted", "launchers"))
    except TypeError:
        return None
    return Identity(values["id"], adopted, launchers)


def own_identity(run: Path) -> Identity:
    """Which run this is, for whoever writes in it; one without a readable ``run.json`` gets one that keeps it whole.

    Raises:
        UserError: that cannot be written.
    """
    known = identity(run)
    if known is not None:
        return known
    if not run.is_dir():
        raise UserError(f"{run} is not there any more: bring it back")
    name, plain = uuid.uuid4().hex, []
    for folder in checkpoint_folders(run):
        try:
            name = read_manifest(folder).run
        except FileNotFoundError:
            plain.append(folder.name)
        except (DamagedError, OSError):
            continue
    value = Identity(name, tuple(plain))
    try:
        _write_identity(run, value)
    except OSError as error:
        raise write_problem(run / _IDENTITY, error, "continue with a copy of it elsewhere") from None
    return value


def resume_command(run: Path) -> str:
    """What continues ``run`` when typed into a shell."""
    return f"python -m fastsep.train --resume {quote(str(run))}"


def checkpoint_folders(run: Path) -> list[Path]:
    """Directories that are named like checkpoints, whoever wrote them, by step.

    Raises:
        UserError: the directory of checkpoints cannot be read, or is a link to one that is not there.
    """
    place = run / "checkpoints"
    try:
        with os.scandir(place) as entries:
            names = [entry.name for entry in entries if _CHECKPOINT.fullmatch(entry.name) and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        if place.is_symlink():
            raise UserError(f"{place} is a link to {os.readlink(place)}, which is not there: mount it first") from None
        return []
    except OSError as error:
        raise UserError(f"cannot read {place} ({error.strerror}): mend its rights or ask its owner") from None
    return [place / name for name in sorted(names)]


def _is_ours(run: Path) -> bool:
    """Whether its identity says so; where that is damaged or absent, whether its settings are."""
    values = _identity_file(run)
    if values is not None:
        return values.get("program") == _PROGRAM
    try:
        load_config(run)
    except UserError:
        return False
    return True


def _identity_file(run: Path) -> dict[str, Any] | None:
    """What ``run.json`` holds; None where it is absent or no object of JSON."""
    try:
        values = json.loads((run / _IDENTITY).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _write_identity(run: Path, value: Identity) -> None:
    text = json.dumps({"program": _PROGRAM, **asdict(value)}, indent=2)
    write_text(run / _IDENTITY, text + "\n")
