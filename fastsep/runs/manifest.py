"""Manifests: what says that a directory is a checkpoint, which run wrote it, and that all of it is as it was written.

``manifest.json`` lies in each checkpoint: the run's identity, the step, the validation error, and size and SHA-256 of
each part, under a SHA-256 of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "manifest.json"


class DamagedError(Exception):
    """A file is not as it was written; the message says which and how."""


@dataclass(frozen=True)
class Part:
    """A file of a checkpoint."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is."""

    run: str
    """Identity of the run that wrote it."""
    step: int
    test_mse: float | None
    """Validation error at that step, where it was measured."""
    parts: dict[str, Part]


def describe(data: bytes) -> Part:
    """Size and checksum of a part."""
    return Part(len(data), hashlib.sha256(data).hexdigest())


def to_bytes(manifest: Manifest) -> bytes:
    """The manifest as a file."""
    content = asdict(manifest)
    return (json.dumps({"manifest": content, "sha256": _checksum(content)}, indent=1, allow_nan=False) + "\n").encode()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint.

    Raises:
        FileNotFoundError: it has none.
        OSError: it cannot be read.
        DamagedError: it is not as it was written.
    """
    data = (folder / NAME).read_bytes()
    try:
        values = json.loads(data)
        content = values["manifest"]
        if values["sha256"] != _checksum(content):
            raise ValueError
        parts = {name: Part(**part) for name, part in content.pop("parts").items()}
        manifest = Manifest(parts=parts, **content)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise DamagedError(f"{NAME} is not as it was written") from None
    if manifest.test_mse is not None and not math.isfinite(manifest.test_mse):
        raise DamagedError(f"{NAME} holds a validation error of {manifest.test_mse}")
    return manifest


def read_part(folder: Path, name: str, expected: Part | None) -> bytes:
    """A part of a checkpoint, compared with its manifest; what was written before there were manifests has none.

    Raises:
        OSError: it cannot be read.
        DamagedError: it is missing or differs.
    """
    try:
        data = (folder / name).read_bytes()
    except FileNotFoundError:
        raise DamagedError(f"{name} is missing") from None
    if expected is not None and len(data) != expected.bytes:
        raise DamagedError(f"{name} has {len(data)} bytes of {expected.bytes}")
    if expected is not None and describe(data) != expected:
        raise DamagedError(f"the checksum of {name} differs")
    return data


def _checksum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
