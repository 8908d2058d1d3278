"""Settle cases: from what is known, else by running the candidates."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from kernels.choose import cache
from kernels.choose.cases import Case, can_choose, code_version, make_task
from kernels.choose.measure import BrokenDeviceError, is_wrong, judge


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
    broke: bool = False
    """A candidate left the GPU unusable: it stays out even where all is measured anew."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    cases: Iterable[Case],
    device: torch.device,
    known: Mapping[str, Any] | None = None,
    again: bool = False,
    announce: Callable[[str], None] = lambda text: None,
) -> dict[Case, Choice]:
    """A choice for every case that has candidates.

    Looked up in ``known`` (choices of a run, by name of the case), then in the user's cache; what is in neither is
    measured and added to the cache. Call it outside graph capture: timing waits for the device.

    Args:
        again: measure anew what ``known`` lacks; only what broke this GPU stays out.
        announce: hears, once, that something is measured, which takes seconds.

    Raises:
        BrokenDeviceError: a candidate broke the context of the GPU; another process will leave it out.
    """
    facts = cache.machine(device)
    path = cache.path_for(facts)
    stored = {name: kept for name, kept in cache.read(path, facts).items() if not again or kept.get("broke")}
    choices: dict[Case, Choice | None] = {}
    for case in filter(can_choose, cases):
        code = code_version(case)
        found = next((s[case.name] for s in (known or {}, stored) if s.get(case.name, {}).get("code") == code), None)
        choices[case] = Choice(**found) if found else None
    missing = [case for case, choice in choices.items() if choice is None]
    if missing:
        announce(f"timing {len(missing)} kernels on this device, once for these sizes (--tune off leaves it out)")
        fresh: dict[str, Any] = {}
        try:
            for case in missing:
                choices[case] = _measure(case, device)
                if choices[case] and choices[case].us:  # else nothing could be verified, today
                    fresh[case.name] = choices[case].to_json()
        except BrokenDeviceError as error:
            fresh[case.name] = Choice(*error.verdict, code_version(case), broke=True).to_json()
            raise
        finally:
            cache.write(path, facts, {**cache.read(path, facts), **fresh})  # read again: others may have written
    return {case: choice for case, choice in choices.items() if choice is not None}


def _measure(case: Case, device: torch.device) -> Choice | None:
    """Run the candidates; nothing, with a warning, where the tensors of ``case`` cannot be made."""
    try:
        task = make_task(case, device)
    except Exception as error:  # no memory, perhaps: the op's own default holds
        warnings.warn(f"nothing is chosen for {case.name}: {error}", stacklevel=3)
        return None
    choice = Choice(*judge(task, device), code_version(case))
    for name, why in choice.out.items():
        if is_wrong(why):
            warnings.warn(f"{name} is not used for {case.name} on this machine: {why}", stacklevel=3)
    return choice
