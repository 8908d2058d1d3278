"""What frames are padded with before a model is made for them."""

from __future__ import annotations

import pytest

from fastsep.config import ModelConfig
from fastsep.model_config import LEFT_OPEN
from fastsep.training.opening import _padding


@pytest.mark.parametrize(
    ("encoder", "shape", "padding"),
    [
        ("auto", (2, 30, 50), (2, 2)),
        ("auto", (1, 96, 64), ()),
        ("auto", (1, 30, 31), ()),  # few values: an mlp takes them as they are
        ("auto", (1, 2000), ()),
        ("dcgan", (1, 60, 64), (4, 0)),
        ("dcgan", (1, 48, 48), ()),  # would be nearly twice as many cells: refused with the nearest sizes
        ("dcgan", (1, 300, 300), ()),  # none is so large
        ("dcgan", (1, 100), ()),
        ("resnet", (1, 30, 40), (2, 0)),
        ("resnet", (1, 62, 64), ()),
    ],
)
def test_frames_are_padded_where_little_is_missing(encoder, shape, padding):
    model = ModelConfig(**{**LEFT_OPEN, "encoder": encoder})
    assert _padding(model)(shape) == padding
