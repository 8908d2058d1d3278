"""The invariance of S, whose derivative is written out by hand, and losses that leave cells out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fastsep.config import ModelConfig, ObjectiveConfig
from fastsep.model import SeparableModel, Static
from fastsep.objective import Cells, _invariance, losses, run_networks


def stacked(dtype: torch.dtype) -> Static:
    """Codes and two skip features of two windows."""
    torch.manual_seed(0)
    shapes = (2, 3, 5), (2, 3, 4, 6, 6), (2, 3, 2, 12, 12)
    code, *skips = (torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes)
    return Static(code, tuple(skips))


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_invariance_is_the_mean_squared_difference_of_code_and_skips(dtype: torch.dtype, rtol: float) -> None:
    static = stacked(dtype)
    joined = torch.cat([part.double().flatten(2) for part in static.parts], 2)  # (2, B, everything)
    expected = F.mse_loss(*joined)
    ours = _invariance(*static.unbind())
    assert ours.dtype == torch.promote_types(dtype, torch.float32)
    assert ours.item() == pytest.approx(expected.item(), rel=rtol)
    gradients = torch.autograd.grad(3.0 * ours, static.parts)
    for ours, theirs in zip(gradients, torch.autograd.grad(3.0 * expected, static.parts), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=rtol, atol=rtol * theirs.abs().max().item())


def test_invariance_traces_as_one_graph() -> None:
    static = stacked(torch.float32)
    compiled = torch.compile(lambda static: _invariance(*static.unbind()), backend="aot_eager", fullgraph=True)
    results = [
        (loss := form(static), *torch.autograd.grad(loss, static.parts))
        for form in (compiled, lambda s: _invariance(*s.unbind()))
    ]
    torch.testing.assert_close(*results)


def model_and_video(shape: tuple[int, ...], offset: int = 2) -> tuple[SeparableModel, ObjectiveConfig, torch.Tensor]:
    config = ModelConfig(
        shape=shape, encoder="mlp", decoder="mlp", nt_cond=2, offset=offset, enc_hidden_size=8, dec_hidden_size=8,
        code_size_s=4, code_size_t=3, res_hidden_size=5, last_activation="none",
    )  # fmt: skip
    return SeparableModel(config).double(), ObjectiveConfig(nt_pred=3), torch.rand(4, 5, *shape, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 7)])
def test_cells_that_do_not_count_are_in_no_loss_and_no_gradient(shape: tuple[int, ...]) -> None:
    model, config, video = model_and_video(shape)
    mask = torch.rand(shape[1:]) < 0.6
    mask[..., 0] = True
    video = torch.where(mask, video, 0.0)
    end = torch.tensor(3)
    outputs = run_networks(model, video, end, config)
    terms = losses(outputs, video, end, model.config, config, Cells.of(mask))
    target, future = video[:, 1], video.transpose(0, 1)
    assert terms.ae.item() == pytest.approx(F.mse_loss(outputs.reconstruction[..., mask], target[..., mask]).item())
    assert terms.prediction.item() == pytest.approx(F.mse_loss(outputs.forecast[..., mask], future[..., mask]).item())
    gradient = torch.autograd.grad(terms.ae + terms.prediction, outputs.forecast, retain_graph=True)[0]
    assert gradient[..., mask].all() and not gradient[..., ~mask].any()
    spoiled = outputs._replace(forecast=torch.where(mask, outputs.forecast, torch.nan))
    assert losses(spoiled, video, end, model.config, config, Cells.of(mask)).total.equal(terms.total)


def test_a_mask_of_all_cells_changes_nothing() -> None:
    model, config, video = model_and_video((1, 6))
    end = torch.tensor(2)
    outputs = run_networks(model, video, end, config)
    whole = losses(outputs, video, end, model.config, config)
    masked = losses(outputs, video, end, model.config, config, Cells.of(torch.ones(6, dtype=torch.bool)))
    torch.testing.assert_close(masked, whole, rtol=1e-14, atol=0)
    assert Cells.of(None) is None
