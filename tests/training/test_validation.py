"""Validation says the same however many windows fit memory at once."""

from __future__ import annotations

import pytest
import torch
from loop_cases import Pulses

from fastsep.config import ModelConfig
from fastsep.model import SeparableModel
from fastsep.training import validation


@pytest.mark.parametrize("at_once", [1, 40, 10**6])
@pytest.mark.parametrize("masked", [False, True])
def test_windows_are_forecast_in_parts(at_once, masked, monkeypatch):
    torch.manual_seed(0)
    narrow = {"enc_hidden_size": 2, "dec_hidden_size": 2, "sst_filters": 2, "code_size_s": 4, "code_size_t": 4}
    model = SeparableModel(ModelConfig(encoder="dcgan", decoder="dcgan", nt_cond=3, offset=3, **narrow)).train()
    windows = Pulses(image=True).open("test", 3, 4, torch.device("cpu"))
    if masked:
        windows.mask = torch.rand(64, 64) < 0.5
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.setattr(validation, "frames_at_once", lambda *_: at_once)
    error, truth, forecast = validation.validate(model, windows)

    assert model.training
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    video = windows.batch(torch.arange(len(windows)))
    assert len(windows) <= 64
    with torch.no_grad():
        expected = model.eval().forecast(video[:, :3], 4)
    squares = (expected - video[:, 3:]).square()
    assert error == pytest.approx((squares[..., windows.mask] if masked else squares).mean().item(), rel=1e-5)
    torch.testing.assert_close(truth, video[0, 3:])
    torch.testing.assert_close(forecast, expected[0], rtol=1e-5, atol=1e-6)
