"""What a run was trained with: a line of ``starts.jsonl`` each time that its training begins or goes on."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fastsep import __version__
from fastsep.errors import warn
from fastsep.files import write_problem, write_text

NAME = "starts.jsonl"
ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 10.0  # seconds, for git on a slow disk


def record_start(run: Path, step: int, device: torch.device, precision: str, ways: dict[str, bool], size: int) -> None:
    """Keep with what ``run`` trains from ``step`` on; a warning where that is another precision than before.

    Args:
        precision: fp32, bf16 or fp16.
        ways: how steps run, compiled and so on.
        size: processes that share them.
    """
    starts = read_starts(run)
    if step and starts and starts[-1].get("precision") != precision:
        before = starts[-1].get("precision")
        warn(f"{run} was trained in {before} so far and goes on in {precision}: give --precision {before} to keep it")
    start = {
        "step": step, "date": datetime.now(UTC).isoformat(timespec="seconds"), "fastsep": __version__,
        "commit": commit("fastsep", "kernels"), "torch": torch.__version__, "device": device_name(device),
        "precision": precision, **ways, "processes": size,
    }  # fmt: skip
    try:
        write_text(run / NAME, "".join(json.dumps(each) + "\n" for each in (*starts, start)))
    except OSError as error:  # the numbers are the same without
        warn(f"{write_problem(run / NAME, error)}; training goes on")


def read_starts(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's ``starts.jsonl``; none for a run from before there was one, or where it is damaged."""
    try:
        starts = [json.loads(line) for line in (run / NAME).read_text().splitlines()]
    except (OSError, ValueError, RecursionError):
        return []
    return starts if all(isinstance(start, dict) for start in starts) else []


def device_name(device: torch.device) -> str:
    """A GPU's name as its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def commit(*parts: str) -> str:
    """Short hash of this checkout, with ``+`` where its ``parts`` (paths) have changes that are not committed.

    Outside git, as in a checkout copied to another machine, it is what the variable FASTSEP_COMMIT says, or unknown.
    """

    def git(*words: str) -> str:
        own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # not a hook's
        done = subprocess.run(
            ["git", "--no-optional-locks", *words], cwd=ROOT, env=own, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=True, timeout=_PATIENCE,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        if not (ROOT / ".git").exists():  # installed, maybe within somebody else's checkout
            raise FileNotFoundError
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *parts)
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("FASTSEP_COMMIT", "unknown")
