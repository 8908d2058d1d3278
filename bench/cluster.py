"""The rollout's cluster kernel in the GPU suite: does it work, and how fast is it?"""

from __future__ import annotations

from typing import Any

from bench.recorder import Recorder
from kernels.latent_rollout.cluster import check


def check_cluster(recorder: Recorder) -> None:
    """Each stage in a process of its own, so that it may hang or break; what follows one that failed is left out."""
    for name in check.STAGES:
        lines: list[dict[str, Any]] = []

        def make(name: str = name, lines: list[dict[str, Any]] = lines) -> dict[str, Any]:
            if recorder.dry:
                return {"skipped": "the cluster kernel needs a GPU"}
            limit = min(check.LIMITS[name], max(recorder.time_left(), 10))
            lines.extend(check.run_stage(name, limit))
            return {"lines": lines, "bad": [line for line in lines if check.bad(line)]}

        recorder.note(f"cluster {name}", make)
        if any(map(check.bad, lines)):
            return
