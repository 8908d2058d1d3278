"""Settle cases: from what is known, else by running the candidates."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from kernels.choose import cache
from kernels.choose.cases import Case, can_choose, code_version, make_task
from kernels.choose.measure import is_wrong, judge


@dataclass(frozen=True)
class Choice:
    """What was chosen for a case, and on what grounds."""

    use: str
    us: dict[str, float]
    """Median microseconds of each candidate that agrees with the reference."""
    out: dict[str, str]
    """The candidates that are out, each with the reason."""
    code: str
    """Version of the op's code that was run."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    cases: Iterable[Case],
    device: torch.device,
    known: Mapping[str, Any] | None = None,
    again: bool = False,
) -> dict[Case, Choice]:
    """A choice for every case that has candidates.

    Looked up in ``known`` (choices of a run, by name of the case), then in the user's cache; what is in neither is
    measured and added to the cache. Call it outside graph capture: timing waits for the device.

    Args:
        again: measure everything anew.
    """
    facts = cache.machine(device)
    path = cache.path_for(facts)
    stored = {} if again else cache.read(path, facts)
    choices: dict[Case, Choice] = {}
    fresh: dict[str, Any] = {}
    for case in filter(can_choose, cases):
        code = code_version(case)
        found = next((s[case.name] for s in (known or {}, stored) if s.get(case.name, {}).get("code") == code), None)
        if found is None:
            try:
                task = make_task(case, device)
            except Exception as error:  # no memory, perhaps: the op's own default holds
                warnings.warn(f"nothing is chosen for {case.name}: {error}", stacklevel=2)
                continue
            fresh[case.name] = found = Choice(*judge(task, device), code).to_json()
            for name, why in found["out"].items():
                if is_wrong(why):
                    warnings.warn(f"{name} is not used for {case.name} on this machine: {why}", stacklevel=2)
        choices[case] = Choice(**found)
    if fresh:
        cache.write(path, facts, {**cache.read(path, facts), **fresh})  # read again: another run may have written
    return choices
