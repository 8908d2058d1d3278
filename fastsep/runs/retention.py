"""Which checkpoints a run has, and which it keeps: the last two, and the one with the least error in validation."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fastsep.runs.directory import Identity, checkpoint_folders
from fastsep.runs.manifest import NAME, DamagedError, Manifest, read_manifest

KEEP = 2
WEIGHTS, STATE = "weights.safetensors", "state.pt"


def manifest_of(folder: Path, owner: Identity | None) -> Manifest | None:
    """The manifest of a checkpoint of run ``owner``; None where the folder is not one. Raises DamagedError, OSError."""
    step = int(folder.name.removeprefix("step-"))
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        if owner is None or folder.name in owner.adopted:
            return Manifest("", step, None, {})
        return None
    if manifest.step != step or (owner is not None and manifest.run != owner.id):
        return None
    return manifest


def own_checkpoints(run: Path, owner: Identity | None) -> list[tuple[Path, Manifest]]:
    """The run's checkpoints by step, whole or not."""
    found = []
    for folder in checkpoint_folders(run):
        with suppress(DamagedError, OSError):
            manifest = manifest_of(folder, owner)
            if manifest is not None and not folder.is_symlink():
                found.append((folder, manifest))
    return found


def prune(run: Path, owner: Identity, step: int) -> None:
    """Remove the run's checkpoints up to ``step`` that are neither among the last two nor the best by validation."""
    own = [(folder, manifest) for folder, manifest in own_checkpoints(run, owner) if manifest.step <= step]
    tested = [(manifest.test_mse, folder) for folder, manifest in own if manifest.test_mse is not None]
    kept = {folder for folder, _ in own[-KEEP:]} | ({min(tested)[1]} if tested else set())
    for folder, _ in own:
        if folder not in kept:
            clear(folder)


def clear(folder: Path) -> None:
    """Remove our files of a directory, the manifest last, and the directory if nothing else is in it."""
    with suppress(OSError):
        for name in (WEIGHTS, STATE, NAME):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
