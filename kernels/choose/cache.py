"""Choices on disk: one JSON file a machine in the user's cache directory, read with suspicion and written whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from kernels.cache_directory import cache_directory

FORMAT = 3


def machine(device: torch.device) -> dict[str, str]:
    """What a choice depends on besides its case: the device and the libraries."""
    facts = {"torch": torch.__version__, "device": device.type}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": str(properties.multi_processor_count),
            "driver": _driver(),
            "triton": _triton(),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            "tf32": str(torch.backends.cudnn.allow_tf32),
            "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
        }
    return facts


def path_for(facts: dict[str, str]) -> Path | None:
    """The file of a machine in the cache directory; None where there is none."""
    directory = cache_directory()
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return directory and directory / f"choices-{key}.json"


def read(path: Path | None, facts: dict[str, str]) -> dict[str, Any]:
    """Choices by name of the case; none, with a warning, where the file is damaged or another machine's."""
    if path is None:
        return {}
    try:
        value = json.loads(path.read_text())
        if value["format"] != FORMAT or value["machine"] != facts:
            raise ValueError("it is of another machine or version")
        return {name: check(choice) for name, choice in value["choices"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(f"the kernels' choices in {path} are not used ({error}): they are measured anew", stacklevel=2)
        return {}


def write(path: Path | None, facts: dict[str, str], choices: dict[str, Any]) -> None:
    """Write all choices, or nothing and a warning."""
    if path is None:
        warnings.warn("the kernels' choices cannot be kept (no home): the next run measures anew", stacklevel=2)
        return
    value = {"format": FORMAT, "machine": facts, "choices": choices}
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        with os.fdopen(handle, "w") as file:
            json.dump(value, file, indent=1)
        os.replace(part, path)
    except OSError as error:
        warnings.warn(f"the kernels' choices cannot be kept ({error}): the next run measures anew", stacklevel=2)
        if part is not None:
            Path(part).unlink(missing_ok=True)


def check(choice: Any) -> dict[str, Any]:
    """``choice`` as it was written; raises ValueError for anything else."""
    fits = isinstance(choice, dict) and isinstance(choice.get("use"), str) and isinstance(choice.get("code"), str)
    fits = fits and isinstance(choice.get("broke", False), bool)
    times, out = (choice.get(name) for name in ("us", "out")) if fits else (None, None)
    if not (isinstance(times, dict) and all(isinstance(us, int | float) for us in times.values())):
        raise ValueError("it holds no choices")
    if not (isinstance(out, dict) and all(isinstance(why, str) for why in out.values())):
        raise ValueError("it holds no choices")
    return choice


def _driver() -> str:
    try:
        found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        found = None
    return found.group(1) if found else "unknown"


def _triton() -> str:
    try:
        import triton
    except ImportError:
        return "absent"
    return triton.__version__
