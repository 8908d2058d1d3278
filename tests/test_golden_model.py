"""The model agrees in float64 with values computed by the authors' published code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import (
    assert_summary,
    build_model,
    case_names,
    load_case,
    objective_config,
    video,
    zero_gradients,
)

from fastsep.model import SeparableModel
from fastsep.objective import losses, objective, run_networks

RTOL = 1e-9
RTOL_EVAL = 1e-6  # rounding noise in biases in front of batch norm, amplified by Adam, shows in evaluation mode only
SLOW = ("sst", "sst_skip")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in case_names()])
def test_training_and_forecast_match_the_authors_code(name: str) -> None:
    case = load_case(name)
    config = objective_config(case)
    model = build_model(case).train()
    batch, end = video(case), torch.tensor(case["t_random"])

    outputs = run_networks(model, batch, end, config)
    terms = losses(outputs, batch, end, model.config, config)
    for term, value in zip(terms, case["losses"].values(), strict=True):
        assert term.item() == pytest.approx(value, rel=RTOL)
    assert_summary(outputs.forecast.transpose(0, 1), case["forecast"], RTOL)
    assert_summary(outputs.dynamic.transpose(0, 1), case["t_codes"], RTOL)
    check_buffers(model, case)

    terms.total.backward()
    check_gradients(model, case)
    check_adam_steps(model, case)


def check_buffers(model: SeparableModel, case: dict[str, Any]) -> None:
    """Every running statistic after one training forward pass, in registration order."""
    buffers, rows = list(model.buffers()), case["buffers_after_first_forward"]
    assert len(buffers) == len(rows)
    for buffer, row in zip(buffers, rows, strict=True):
        assert list(buffer.shape) == row["shape"], row["name"]
        scale = RTOL * row["l2"] * max(buffer.numel(), 1) ** 0.5
        assert buffer.double().sum().item() == pytest.approx(row["sum"], rel=RTOL, abs=scale), row["name"]
        assert buffer.double().norm().item() == pytest.approx(row["l2"], rel=RTOL), row["name"]


def check_gradients(model: SeparableModel, case: dict[str, Any]) -> None:
    """Norm and random projection of every gradient that is not zero in exact arithmetic."""
    zero = zero_gradients(model)
    for parameter, row in zip(model.parameters(), case["parameters"], strict=True):
        if row["grad_l2"] is None:
            assert parameter.grad is None, row["name"]
        elif id(parameter) not in zero:
            direction = np.random.RandomState(500000 + row["k"]).standard_normal(tuple(row["shape"]))
            gradient = parameter.grad.numpy()
            assert np.linalg.norm(gradient) == pytest.approx(row["grad_l2"], rel=RTOL), row["name"]
            scale = RTOL * row["grad_l2"] * gradient.size**0.5
            assert (gradient * direction).sum() == pytest.approx(row["grad_dot"], rel=RTOL, abs=scale), row["name"]


def check_adam_steps(model: SeparableModel, case: dict[str, Any]) -> None:
    """The total loss over three Adam steps, then a long forecast in evaluation mode."""
    c, config = case["config"], objective_config(case)
    batch, end = video(case), torch.tensor(case["t_random"])
    optimiser = torch.optim.Adam(model.parameters(), lr=c["lr"], betas=(c["beta1"], c["beta2"]))
    totals = [case["losses"]["total"]]
    for _ in range(3):
        optimiser.step()
        optimiser.zero_grad()
        total = objective(model, batch, end, config).total
        total.backward()
        totals.append(total.item())
    assert totals == pytest.approx(case["totals"], rel=RTOL)
    model.eval()
    with torch.no_grad():
        static, t0 = model.describe(batch[:, : c["nt_cond"]])
        forecast = model.decode(static, model.roll_out(t0, c["nt_cond"] + 2 * c["nt_pred"])).transpose(0, 1)
    assert_summary(forecast, case["eval_forecast"], RTOL_EVAL)
