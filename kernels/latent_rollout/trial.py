"""The cluster kernel's first run on a GPU, remembered where it did not come back.

A kernel that breaks the CUDA context ends the process, so that no choice is kept and the next process would try again.
A mark on disk, there while the first run lasts, tells the next one.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kernels.latent_rollout.cluster import ClusterError
from kernels.latent_rollout.cluster.compiler import cache_directory, sources


def mark(device: torch.device) -> Path:
    """Where the mark of a GPU's model and of this code is."""
    code = hashlib.sha256(repr(sorted(sources().items())).encode()).hexdigest()[:12]
    name = "".join(c if c.isalnum() else "-" for c in torch.cuda.get_device_name(device))
    return cache_directory() / f"trying-{name}-{code}"


def failed(device: torch.device) -> bool:
    """Whether an earlier first run did not come back; a warning then says so."""
    path = mark(device)
    if path.exists():
        warnings.warn(f"the cluster kernel is not tried: it ended a process here (delete {path} to try)", stacklevel=2)
    return path.exists()


def guarded(call: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """``call`` with the mark set around its first run, and left where the GPU's work does not end well."""
    tried = False

    def run() -> Any:
        nonlocal tried
        if tried:
            return call()
        tried = True
        path = mark(device)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError:  # nothing is kept here: no memory of failures either
            return call()
        try:
            out = call()
            torch.cuda.synchronize(device)
        except (ClusterError, ValueError, torch.cuda.OutOfMemoryError, KeyboardInterrupt):
            path.unlink(missing_ok=True)  # it was not the kernel
            raise
        path.unlink(missing_ok=True)
        return out

    return run
