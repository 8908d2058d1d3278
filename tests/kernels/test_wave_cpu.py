"""The CPU kernel against its definition and the golden frames; the definition against mathematics."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.wave import reference, simulate, stability_limit

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "data.json").read_text())["wave_eq"]


def parameters(*pairs: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    c, f0 = torch.tensor(pairs, dtype=torch.float64).T
    return c.contiguous(), f0.contiguous()


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).abs().max() / b.abs().max())


def test_golden_frames() -> None:
    cases = GOLDEN["sequences"]
    f0 = [f for f, _ in GOLDEN["f0_c_first_8"][: len(cases)]]
    w = simulate(
        torch.tensor([s["c"] for s in cases]), torch.tensor(f0), out=torch.full((len(cases), 300, 64, 64), np.nan)
    )
    assert torch.isfinite(w).all()
    for sequence, case in zip(w.numpy(), cases, strict=True):
        peak = max(-case["min"], case["max"])
        assert abs(sequence.min() - case["min"]) < 2e-5 * peak
        assert abs(sequence.max() - case["max"]) < 2e-5 * peak
        for number, frame in case["frames"].items():
            ours = sequence[int(number)]
            assert np.abs(ours.ravel()[frame["index"]] - frame["value"]).max() < 2e-5 * peak
            assert abs(ours.sum(dtype=np.float64) - frame["sum"]) < 2e-5 * peak * 4096
            assert abs(np.linalg.norm(ours.astype(np.float64)) - frame["l2"]) < 2e-5 * peak * 64


@pytest.mark.parametrize("grid", [5, 9, 33, 64, 70])
def test_kernel_agrees_with_the_definition(grid: int) -> None:
    c, f0 = parameters((395.0, 11.0), (310.0, 27.0), (350.0, 5.0))
    expected = reference.simulate(c, f0, frames=50, grid=grid)
    out = torch.full((3, 50, grid, grid), np.nan)
    assert simulate(c, f0, frames=50, grid=grid, out=out) is out
    assert relative_error(out, expected) < 1e-5


def test_order_four_in_time() -> None:
    c, f0 = parameters((350.0, 10.0))
    end = 0.032

    def last(dt: float) -> torch.Tensor:
        return reference.simulate(c, f0, frames=round(end / dt) + 1, grid=16, dt=dt)[:, -1]

    exact = last(6.25e-5)
    errors = [float((last(dt) - exact).norm()) for dt in (1e-3, 5e-4, 2.5e-4)]
    orders = [np.log2(a / b) for a, b in pairwise(errors)]
    assert all(3.8 < order < 4.2 for order in orders), orders


@pytest.mark.parametrize("solve", [simulate, reference.simulate], ids=["kernel", "reference"])
def test_mirror_symmetry(solve) -> None:
    w = solve(*parameters((380.0, 12.0)), frames=120, grid=33)  # odd: the source is in the middle
    tolerance = 1e-5 * w.abs().max()
    for mirrored in (w.flip(-1), w.flip(-2), w.mT):
        assert (w - mirrored).abs().max() < tolerance


def test_linear_in_source_strength() -> None:
    c, f0 = parameters((380.0, 4.0))
    assert relative_error(simulate(c, 5 * f0, frames=100), 5 * simulate(c, f0, frames=100)) < 1e-5


def test_stability_limit_separates_decay_from_growth() -> None:
    c, f0 = parameters((400.0, 10.0))
    limit = stability_limit(400.0)
    calm = reference.simulate(c, f0, frames=400, grid=24, dt=0.99 * limit)[:, -1].abs().max()
    wild = reference.simulate(c, f0, frames=400, grid=24, dt=1.05 * limit)[:, -1].abs().max()
    assert calm < 1 < 1e6 < wild


def test_no_sequences_and_one_frame() -> None:
    assert simulate(torch.empty(0), torch.empty(0), frames=3).shape == (0, 3, 64, 64)
    assert simulate(*parameters((300.0, 1.0)), frames=1).abs().max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": 4}, "at least 5"),
        ({"frames": 0}, "at least 1"),
        ({"dt": 3e-3}, "at most 0.002887 s"),
        ({"dt": -1e-3}, "positive"),
        ({"out": torch.empty(1, 300, 64, 64, dtype=torch.float64)}, "float32"),
        ({"out": torch.empty(1, 64, 300, 64)}, "shape"),
    ],
)
def test_refusals(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(*parameters((300.0, 1.0)), **change)


def test_parameters_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="one length"):
        simulate(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="finite"):
        simulate(torch.tensor([float("nan")]), torch.ones(1))
