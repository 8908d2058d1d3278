"""Frames go into a model's units and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from fastsep.data.scaling import NAME, Scaling
from fastsep.errors import UserError

PRESENT = np.array([[True, True, False], [True, True, True]])
SCALING = Scaling(
    (2, 3), np.array([1.0, -2.0], np.float32), np.array([2.0, 0.5], np.float32), PRESENT, (2, 1), ("u", "v"), ("m", "")
)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_frames_come_back_in_their_kind_with_missing_cells_nan(kind):
    frames = np.random.default_rng(0).normal(size=(5, 2, 2, 3)).astype(np.float32)
    scaled = SCALING.scale(kind(frames))
    assert type(scaled) is type(kind(frames))
    assert tuple(scaled.shape) == (5, *SCALING.shape) == (5, 2, 4, 4)
    values = np.asarray(scaled)
    np.testing.assert_allclose(values[:, 1, :2, :2], (frames[:, 1, :, :2] + 2) / 0.5, rtol=1e-6)
    assert (values[..., ~SCALING.mask] == 0).all()
    back = np.asarray(SCALING.unscale(scaled))
    np.testing.assert_allclose(back, np.where(PRESENT, frames, np.nan), rtol=1e-5, atol=1e-6)


def test_scaling_in_place_is_the_same_bit_for_bit():
    frames = np.random.default_rng(0).normal(size=(50, 2, 2, 3)).astype(np.float32)
    frames[..., ~PRESENT] = np.nan
    out = np.zeros((50, *SCALING.shape), np.float32)
    SCALING.scale_into(frames, out)
    np.testing.assert_array_equal(out, SCALING.scale(frames))


def test_missing_cells_may_hold_nan():
    frames = np.where(PRESENT, np.float32(1), np.float32(np.nan)) * np.ones((2, 1, 1), np.float32)
    assert np.isfinite(SCALING.scale(frames)).all()


def test_padding_alone_is_masked():
    padded = Scaling((3,), np.zeros(1, np.float32), np.ones(1, np.float32), padding=(1,))
    assert padded.mask.tolist() == [True, True, True, False]
    assert Scaling.identity((1, 3)).mask is None


def test_a_run_keeps_it(tmp_path):
    SCALING.write(tmp_path)
    kept = Scaling.read(tmp_path, SCALING.shape)
    for name in ("shift", "factor", "present"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(SCALING, name))
    assert (kept.space, kept.padding, kept.names, kept.units) == ((2, 3), (2, 1), ("u", "v"), ("m", ""))


def test_a_run_without_one_sees_the_datas_units(tmp_path):
    frames = torch.rand(2, 1, 4)
    assert Scaling.read(tmp_path, (1, 4)) is None
    assert torch.equal(Scaling.identity((1, 4)).unscale(frames), frames)


@pytest.mark.parametrize(
    "change",
    [{"factor": [0.0, 1.0]}, {"factor": [1.0]}, {"shift": [float("nan"), 0.0]}, {"space": [9, 9]}, {"present": "!"}],
    ids=["zero", "channels", "nan", "space", "bits"],
)
def test_a_damaged_one_is_refused(tmp_path, change):
    SCALING.write(tmp_path)
    path = tmp_path / NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="damaged"):
        Scaling.read(tmp_path, SCALING.shape)
