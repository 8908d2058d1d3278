"""Time and memory against batch, grid, horizon and number of sequences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import scaling

CASES = [
    pytest.param(place, axis, k, id=f"{place}-{axis}-{k}")
    for place in ("cpu", "cuda")
    for axis in scaling.AXES
    for k in range(len(list(scaling.subjects_along(axis, torch.device(place)))))
]


@pytest.mark.parametrize(("place", "axis", "k"), CASES)
def test_scaling(record: Callable, place: str, axis: str, k: int) -> None:
    row, make = list(scaling.subjects_along(axis, torch.device(place)))[k]
    record(make, row, seconds=0.5)
