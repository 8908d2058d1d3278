"""No test frame is seen in training, and no window crosses the border: for any data and settings."""

from __future__ import annotations

import numpy as np
import pytest
from frames_cases import everything, opened, saved, waves
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsep.data.frames.settings import Frames
from fastsep.data.frames.splits import part_of, windows_in
from fastsep.errors import UserError


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 12), st.integers(2, 60), st.sampled_from(["auto", "sequences", "time"]), st.floats(0.0001, 0.9),
    st.integers(1, 8), st.integers(1, 8),
)  # fmt: skip
def test_parts_share_no_frame_and_windows_stay_within(sequences, frames, split, share, cond, pred):
    config = Frames(split=split, test_share=share)
    seen = {}
    for part in ("train", "test"):
        try:
            starts = windows_in(part_of(part, config, sequences, frames), part, config, cond, pred, "own.npy")
        except UserError:
            return
        seen[part] = {(s, f + k) for s, f in starts.tolist() for k in range(cond + pred)}
        assert all(0 <= s < sequences and 0 <= f < frames for s, f in seen[part])
    assert not seen["train"] & seen["test"]
    if split == "sequences" or (split == "auto" and sequences > 1):
        assert not {s for s, _ in seen["train"]} & {s for s, _ in seen["test"]}
    else:
        assert max(f for _, f in seen["train"]) < min(f for _, f in seen["test"])


@pytest.mark.parametrize("split", ["sequences", "time"])
@pytest.mark.parametrize("every", [1, 2])
def test_no_training_window_shows_a_frame_of_a_test_window(tmp_path, split, every):
    number = np.arange(4 * 60, dtype=np.float32).reshape(4, 60, 1)  # each frame says which it is
    path = saved(tmp_path, np.repeat(number, 3, axis=2))
    numbers = {
        part: {*everything(opened(path, part, split=split, every=every, scale="none", layout="ntp")).flatten().tolist()}
        for part in ("train", "test")
    }
    assert len(numbers["train"]) > len(numbers["test"]) > 0
    assert not numbers["train"] & numbers["test"]
    kept = {float(60 * n + t) for n in range(4) for t in range(0, 60, every)}
    assert numbers["train"] | numbers["test"] == kept


@pytest.mark.parametrize("split", ["sequences", "time"])
@pytest.mark.parametrize("fill", ["none", "linear"])
@pytest.mark.parametrize("scale", ["minmax", "standard"])
def test_training_windows_do_not_depend_on_test_values(tmp_path, split, fill, scale):
    frames = waves(5, 30)
    frames[:, :, 0, :3] = np.nan
    tested = (slice(4, None),) if split == "sequences" else (slice(None), slice(24, None))
    if fill == "linear":
        frames[:, 21:24, 2, 2] = np.nan  # up to the border
    other = frames.copy()
    other[tested] = 1000 * np.random.default_rng(1).random(other[tested].shape)
    ours, theirs = (
        opened(saved(tmp_path, values, name), split=split, fill=fill, scale=scale)
        for values, name in ((frames, "a.npy"), (other, "b.npy"))
    )
    assert everything(ours).equal(everything(theirs))
    assert ours.mask.equal(theirs.mask)
