"""Checkpoints: weights as safetensors, the rest loadable with ``weights_only=True``, checksums of both.

A checkpoint is a directory ``checkpoints/step-NNNNNNNN`` that appears under its name only when whole and on the disk.
The last two are kept, and the one with the least error on the test windows that validation sees.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from fastsep.config import Config
from fastsep.errors import UserError, warn
from fastsep.files import make_directory, sync_directory, write_inside, write_problem
from fastsep.model import SeparableModel
from fastsep.networks import fold_norms
from fastsep.room import require_room
from fastsep.runs import manifest as manifests
from fastsep.runs.directory import Identity, checkpoint_folders, identity, load_config, own_identity, resume_command
from fastsep.runs.manifest import DamagedError, Manifest, read_part
from fastsep.runs.retention import STATE, WEIGHTS, clear, manifest_of, own_checkpoints, prune


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every part has been compared with its checksum."""

    path: Path
    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any] | None
    """What only resuming needs; None where there is none or it was not asked for."""


class NotSavedError(UserError):
    """A checkpoint could not be written; those before it are whole."""

    def __init__(self, problem: UserError, run: Path):
        super().__init__(f"{problem}, then continue with --resume {quote(str(run))}")
        self.problem = problem


def save_checkpoint(
    run: Path, step: int, model: SeparableModel, state: dict[str, Any] | None = None, test_mse: float | None = None
) -> Path:
    """Write the checkpoint of ``step`` and drop those of the run that are neither among its last two nor its best.

    Args:
        state: what only resuming needs.
        test_mse: the validation error, where it was measured.

    Raises:
        NotSavedError: a disk that is full, or fails, or is not there.
        UserError: weights that are not finite; nothing is written then.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise UserError(f"the weights are not finite after step {step} ({broken[0]}): {last_good(run)}")
    try:
        owner = own_identity(run)
    except UserError as error:
        raise NotSavedError(error, run) from None
    final = run / "checkpoints" / f"step-{step:08d}"
    parts = {WEIGHTS: safetensors.torch.save(weights, metadata={"step": str(step)})}
    if state is not None:
        parts[STATE] = _pickle(state)
    listed = {name: manifests.describe(data) for name, data in parts.items()}
    parts[manifests.NAME] = manifests.to_bytes(Manifest(owner.id, step, test_mse, listed))
    part = final.with_name(".part")
    try:
        if os.path.lexists(final) and not _make_room(final, owner):
            return final
        clear(part)
        make_directory(part)
        for name, data in parts.items():
            write_inside(part / name, data)
        sync_directory(part)
        os.rename(part, final)
        sync_directory(final.parent)
    except OSError as error:
        raise NotSavedError(write_problem(final, error), run) from None
    finally:
        clear(part)
    prune(run, owner, step)
    return final


def require_place(run: Path) -> None:
    """Raise UserError where ``run`` takes no checkpoints: better now than after the steps to the first one."""
    part = run / "checkpoints" / ".part"
    clear(part)
    try:
        make_directory(part)
    except OSError as error:
        raise write_problem(part.parent, error, "continue with a copy of the run elsewhere") from None
    finally:
        clear(part)


def find_checkpoint(run: Path, state: bool = True) -> Checkpoint | None:
    """The newest whole checkpoint of a run, None where it has written none. Passes over damaged ones with a warning.

    Args:
        state: load what resuming needs, too.

    Raises:
        UserError: none is whole, or one cannot be read for want of permission.
    """
    while True:
        folders = checkpoint_folders(run)
        try:
            found, passed, damaged = _first_whole(folders, identity(run), state)
        except PermissionError as error:
            raise UserError(
                f"no permission to read {error.filename}: ask its owner for it (chmod -R a+rX {run})"
            ) from None
        # A training that goes on meanwhile drops checkpoints while they are read; there are newer ones then.
        if not passed or checkpoint_folders(run) == folders:
            break
    if found is None and damaged:
        raise UserError(f"{run} holds no whole checkpoint: {'; '.join(passed)}: restore one from a copy")
    if found is not None and passed:
        warn(f"{'; '.join(passed)}: using {found.path}")
    return found


def newest_checkpoint(run: Path, state: bool = True) -> Checkpoint:
    """``find_checkpoint``, and a UserError where there is none."""
    found = find_checkpoint(run, state)
    if found is None and checkpoint_folders(run):
        raise UserError(f"the checkpoints in {run} are another run's: restore its own, or its run.json, from a copy")
    if found is None:
        raise UserError(
            f"{run} holds no checkpoint yet: wait for its first one, or go on training with {resume_command(run)}"
        )
    return found


def best_checkpoint(run: Path, state: bool = True) -> Checkpoint:
    """The whole checkpoint with the least error in validation. Passes over damaged ones with a warning.

    Raises:
        UserError: there is none.
        PermissionError: one may not be read.
    """
    owner, passed = identity(run), []
    own = own_checkpoints(run, owner)
    tested = sorted((manifest.test_mse, folder) for folder, manifest in own if manifest.test_mse is not None)
    for _, folder in tested:
        try:
            found = _open(folder, owner, state)
        except PermissionError:
            raise
        except (DamagedError, OSError) as error:
            if not folder.exists():  # a training that goes on meanwhile has found a better one
                return best_checkpoint(run, state)
            passed.append(f"{folder} is damaged ({getattr(error, 'strerror', None) or error})")
            continue
        if found is None:  # of another run meanwhile
            continue
        if passed:
            warn(f"{'; '.join(passed)}: using {folder}")
        return found
    raise UserError(f"{run} holds no whole checkpoint with an error of validation: leave out --best, for the newest")


class Trained(NamedTuple):
    """The model of a run."""

    model: SeparableModel
    """In evaluation mode."""
    config: Config
    """The run's settings."""
    checkpoint: Checkpoint
    """Where the weights are from; without the state of training."""


def load_model(
    run: Path | str, device: torch.device | str = "cpu", folded: bool = False, best: bool = False
) -> Trained:
    """The newest weights of a run on ``device``.

    Args:
        best: those with the least error in validation instead.
        folded: to forecast fast, in float32: batch norms become part of the layers before them.

    Raises:
        UserError: there is no run, none of its checkpoints is whole, or there is no room for the networks.
    """
    config, find = load_config(Path(run)), best_checkpoint if best else newest_checkpoint
    checkpoint = find(Path(run), state=False)
    require_room(config.model, torch.device(device))
    with torch.random.fork_rng(devices=[]):  # the weights that a new model draws are not the caller's numbers
        model = SeparableModel(config.model)
    load_weights(model, checkpoint)
    model = model.to(device).eval()
    return Trained(fold_norms(model.float()).lay_out() if folded else model, config, checkpoint)


def load_weights(model: SeparableModel, checkpoint: Checkpoint) -> None:
    """Fill ``model`` from a checkpoint. Raises UserError for weights of another model."""
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError:
        raise UserError(
            f"{checkpoint.path / WEIGHTS} does not fit the run's config.json: one was changed, or is of another preset"
        ) from None


def last_good(run: Path) -> str:
    """Which checkpoint is left when training went wrong, and what to do; the end of a message."""
    own = own_checkpoints(run, identity(run) or Identity(""))
    if not own:
        return "no checkpoint was written yet: train anew with a lower --lr, or with --precision fp32"
    return (
        f"the last good checkpoint is {own[-1][0]}: train anew with a lower --lr, or continue with "
        f"--resume {quote(str(run))} --precision fp32"
    )


def _first_whole(folders: list[Path], owner: Identity | None, state: bool) -> tuple[Checkpoint | None, list[str], bool]:
    """The last of ``folders`` that is a whole checkpoint, what is wrong with those after it, whether any is damaged.

    Raises:
        PermissionError: one may not be read.
    """
    passed, damaged = [], False
    for folder in reversed(folders):
        try:
            found = _open(folder, owner, state)
        except PermissionError:
            raise
        except (DamagedError, OSError) as error:
            damaged = True
            passed.append(f"{folder} is damaged ({getattr(error, 'strerror', None) or error})")
            continue
        if found is not None:
            return found, passed, damaged
        passed.append(f"{folder} was not written by this run")
    return None, passed, damaged


def _open(folder: Path, owner: Identity | None, state: bool) -> Checkpoint | None:
    """The checkpoint in ``folder``, None if another run wrote it. Raises DamagedError or OSError."""
    manifest = manifest_of(folder, owner)
    if manifest is None:
        return None
    data = {name: read_part(folder, name, part) for name, part in manifest.parts.items()}
    if not manifest.parts:  # from before there were manifests: its parts are those that are there
        names = [name for name in (WEIGHTS, STATE) if name == WEIGHTS or (folder / name).exists()]
        data = {name: read_part(folder, name, None) for name in names}
    try:
        weights = safetensors.torch.load(data[WEIGHTS])
    except (KeyError, SafetensorError, ValueError) as error:
        raise DamagedError(f"{WEIGHTS}: {error}") from None
    wanted = state and STATE in data
    loaded = _unpickle(data[STATE]) if wanted else None
    return Checkpoint(folder, manifest.step, weights, loaded)


def _make_room(final: Path, owner: Identity) -> bool:
    """Free the name of a new checkpoint: False where a whole one of the same run and step has it already.

    A damaged one of ours is removed, what is not ours is moved aside. Raises OSError.
    """
    try:
        if _open(final, owner, state=False) is not None:
            return False
    except (DamagedError, OSError):
        with suppress(DamagedError, OSError):
            if manifest_of(final, owner) is not None and not final.is_symlink():
                clear(final)
    if os.path.lexists(final):
        for number in range(1, 1000):
            aside = final.with_name(f"{final.name}.aside-{number}")
            if not os.path.lexists(aside):
                os.rename(final, aside)
                warn(f"{final} was not written by this run: moved to {aside.name}")
                break
    return True


def _pickle(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _unpickle(data: bytes) -> dict[str, Any]:
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged archives raise many kinds
        raise DamagedError(f"{STATE}: {type(error).__name__}") from None
