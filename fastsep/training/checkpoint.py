"""Run directories: settings as text, weights as safetensors, the rest loadable with ``weights_only=True``.

A checkpoint is a directory ``checkpoints/step-N`` that appears under its name only when whole.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fastsep.config import Config, from_json, to_json
from fastsep.errors import UserError
from fastsep.model import SeparableModel

_KEEP = 2


def create_run(run: Path, config: Config) -> None:
    """Make a run directory with its ``config.json``. Raises UserError when it holds a run or cannot be written."""
    if (run / "config.json").exists():
        raise UserError(f"{run} already holds a run: continue it with --resume {run}, or choose another --out")
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_text(run / "config.json", to_json(config))
    except OSError as error:
        raise UserError(f"cannot write to {run} ({error.strerror}): choose another --out") from None


def write_text(path: Path, text: str) -> None:
    """Write a file that is whole or absent."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


def save_checkpoint(run: Path, step: int, model: SeparableModel, state: dict[str, Any] | None = None) -> Path:
    """Write ``checkpoints/step-N`` and drop all but the newest two. ``state`` is what only resuming needs."""
    final = run / "checkpoints" / f"step-{step:08d}"
    part = final.with_name(f".{final.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, part / "weights.safetensors", metadata={"step": str(step)})
        if state is not None:
            torch.save(state, part / "state.pt")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(part, final)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot write {final} ({reason}): free some space, then continue with --resume {run}"
        ) from None
    for old in _checkpoints(run)[:-_KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_config(run: Path) -> Config:
    """The settings of a run. Raises UserError when there is no run."""
    try:
        return from_json((run / "config.json").read_text())
    except OSError:
        raise UserError(f"{run} holds no run (no config.json): give the directory that training wrote") from None


def load_model(run: Path, device: torch.device | str = "cpu") -> tuple[SeparableModel, Config]:
    """The newest weights of a run, in evaluation mode on ``device``, and the run's settings."""
    config = load_config(run)
    model = SeparableModel(config.model)
    load_weights(model, newest_checkpoint(run))
    return model.to(device).eval(), config


def load_weights(model: SeparableModel, checkpoint: Path) -> None:
    """Fill ``model`` from a checkpoint. Raises UserError for a damaged file or weights of another model."""
    path = checkpoint / "weights.safetensors"
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is missing or damaged ({error}): delete {checkpoint} to use the one before") from None
    except RuntimeError:
        raise UserError(
            f"{path} does not fit the run's config.json: weights of another preset were copied in"
        ) from None


def load_state(checkpoint: Path) -> dict[str, Any]:
    """What resuming needs beyond the weights."""
    path = checkpoint / "state.pt"
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{checkpoint} holds weights only: it can be evaluated, not resumed") from None
    except Exception as error:  # damaged archives raise many kinds
        raise UserError(
            f"{path} is damaged ({type(error).__name__}): delete {checkpoint} to use the one before"
        ) from None


def newest_checkpoint(run: Path) -> Path:
    """The directory of the highest step. Raises UserError when there is none."""
    checkpoints = _checkpoints(run)
    if not checkpoints:
        raise UserError(f"{run} holds no checkpoint: training stopped before the first one; train again")
    return checkpoints[-1]


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.name.removeprefix("step-"))


def _checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*"))
