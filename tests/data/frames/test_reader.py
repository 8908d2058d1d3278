"""Own frames as windows: what a model sees is the file's values, scaled by the training part alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frames_cases import CPU, everything, opened, saved, waves, without_memory

from fastsep.data.frames.settings import Frames
from fastsep.errors import UserError


def expected(frames: np.ndarray, scale: str) -> np.ndarray:
    """(N, T, C, *space) scaled by what the training part, the first four of five sequences, has in complete cells."""
    train = np.where(np.isnan(frames).any(2, keepdims=True), np.nan, frames)[:4].astype(np.float64)
    axes = (0, 1, *range(3, frames.ndim))
    mean, deviation = np.nanmean(train, axes, keepdims=True), np.nanstd(train, axes, keepdims=True)
    low, high = np.nanmin(train, axes, keepdims=True), np.nanmax(train, axes, keepdims=True)
    shift, factor = {"minmax": (low, high - low), "standard": (mean, deviation), "none": (0, 1)}[scale]
    return np.nan_to_num((frames - shift) / factor)


@pytest.mark.parametrize("scale", ["minmax", "standard", "none"])
@pytest.mark.parametrize("masked", [False, True])
def test_windows_are_the_scaled_frames(tmp_path, scale, masked):
    frames = np.stack([waves(seed=1), 100 + 0.1 * waves(seed=2)], axis=2)  # (5, 12, 2, 6, 8)
    if masked:
        frames[:, :, 0, 1:3, 4] = np.nan  # in one of the channels
    truth = expected(frames, scale)
    if masked:
        truth[:, :, :, 1:3, 4] = 0
    for split, rows in (("train", slice(4)), ("test", slice(4, 5))):
        windows = opened(saved(tmp_path, frames), split, scale=scale)
        assert windows.shape == (2, 6, 8) and windows.length == 5
        of_sequences = [truth[n][t : t + 5] for n in range(5)[rows] for t in range(8)]
        np.testing.assert_allclose(everything(windows), np.stack(of_sequences), rtol=1e-4, atol=2e-5)
        if masked:
            assert (~windows.mask).nonzero().tolist() == [[1, 4], [2, 4]]
        else:
            assert windows.mask is None
        back = windows.scaling.unscale(windows.batch(torch.tensor([2])))
        np.testing.assert_allclose(back[0, 0], np.where(windows.scaling.mask is None or windows.scaling.mask,
                                   frames[rows][0, 2], np.nan), rtol=1e-6)  # fmt: skip


def test_test_windows_opened_alone_are_scaled_like_those_of_the_run(tmp_path):
    path = saved(tmp_path, waves())
    train = opened(path)
    alone = opened(path, "test")
    config = Frames(data=path)
    beside = config.open("test", 2, 3, CPU, train.scaling)
    assert everything(alone).equal(everything(beside))


def test_a_run_keeps_its_scaling_on_other_data(tmp_path):
    scaling = opened(saved(tmp_path, waves())).scaling
    other = Frames(data=saved(tmp_path, 2 * waves(), "other.npy")).open("test", 2, 3, CPU, scaling)
    np.testing.assert_allclose(scaling.unscale(everything(other))[0, 0, 0], 2 * waves()[4, 0], rtol=1e-6)


def test_padding_is_left_out(tmp_path):
    config = Frames(data=saved(tmp_path, waves()))
    train = config.open("train", 2, 3, CPU, padding=lambda shape: (2, 0))
    assert train.shape == (1, 8, 8) == config.open("test", 2, 3, CPU, train.scaling).shape
    assert train.mask[:6].all() and not train.mask[6:].any()
    assert not everything(train)[..., 6:, :].any()
    assert everything(train)[..., :6, :].equal(everything(opened(config.data)))
    assert any("6x8 becomes 8x8" in note for note in train.notes)


def test_test_windows_are_thinned_evenly(tmp_path):
    path = saved(tmp_path, waves(5, 105))
    windows = opened(path, "test", test_windows=10)
    assert len(windows) == 10
    assert windows.starts[:, 1].diff().unique().tolist() == [10]


@pytest.mark.parametrize("shape", [(7,), (3, 5)])
def test_points_and_images(tmp_path, shape):
    windows = opened(saved(tmp_path, waves(5, 12, shape)), layout="ntp" if len(shape) == 1 else "nthw")
    assert windows.shape == (1, *shape)


@pytest.mark.parametrize(
    ("frames", "settings", "words"),
    [
        (np.ones((5, 12, 6, 8)), {}, "channel 0 is constant in the training part"),
        (np.stack([waves(), np.ones((5, 12, 6, 8))], 2), {}, "channel 1 is constant in the training part"),
        (np.full((5, 12, 6, 8), np.nan), {}, "no cell has a value"),
        (waves(1, 12), {"split": "sequences"}, "set --split time"),
        (waves(5, 1), {"layout": "nthw"}, "no train window of 2 \\+ 3 frames fits into the 1 train frames"),
        (waves(5, 12), {"every": 3}, "no train window of 2 \\+ 3 frames \\(3 apart\\)"),
        (waves(5, 12), {"split": "time"}, "no test window of 2 \\+ 3 frames fits into the 2 test frames"),
        (1e33 * waves(), {}, "too large for float32"),
    ],
    ids=["constant", "one-constant", "nothing", "one-sequence", "one-frame", "every", "no-test", "large"],
)
def test_what_cannot_be_trained_on_is_refused(tmp_path, frames, settings, words):
    with pytest.raises(UserError, match=words):
        opened(saved(tmp_path, frames.astype(np.float32)), **settings)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (
            1e6 + 0.1 * waves().astype(np.float64),
            r"channel 0 varies by 0\.\d+ around 1e\+06, which float32 holds in steps of 0\.062: subtract",
        ),
        (1e9 + waves().astype(np.float64), "channel 0 is constant in the training part .*, subtract an offset from"),
    ],
    ids=["coarse", "constant"],
)
def test_what_float32_cannot_tell_apart_is_refused(tmp_path, frames, words):
    path = saved(tmp_path, frames)
    assert np.load(path).dtype == np.float64
    with pytest.raises(UserError, match=words):
        opened(path)
    coarse_numbers = 1e6 + np.rint(4 * waves())  # whatever their type, float32 holds them
    assert opened(path, scale="none").shape == (1, 6, 8)
    for exact in (coarse_numbers.astype(kind) for kind in ("f4", "f8", "i4", "i8")):
        assert opened(saved(tmp_path, exact)).shape == (1, 6, 8)
    assert opened(saved(tmp_path, 1e4 + waves().astype(np.float64))).shape == (1, 6, 8)


def test_a_constant_channel_may_stay_unscaled(tmp_path):
    windows = opened(saved(tmp_path, np.ones((5, 12, 6, 8), np.float32)), scale="none")
    assert (everything(windows) == 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(1, 3, 2, 5), (4, 7, 0, 0)], ids=["train", "test"])
def test_values_missing_now_and_then_are_refused_with_their_place(tmp_path, value, place):
    frames = waves()
    frames[:, :, 5, 5] = np.nan  # always missing: fine
    frames[place] = value
    path, config = saved(tmp_path, frames), Frames(data=tmp_path / "own.npy")
    n, t, row, column = place
    place = f"first sequence {n}, frame {t}, channel 0, row {row}, column {column}"
    with pytest.raises(UserError, match=f"^1 values.*{place}: set --fill linear"):
        train = config.open("train", 2, 3, CPU)
        config.open("test", 2, 3, CPU, train.scaling)
    assert path.exists()


def test_linear_fill_is_numpys_interpolation_in_time(tmp_path):
    frames = waves(5, 30)
    holes = np.random.default_rng(0).random(frames.shape) < 0.3
    holes[:, 10] = False
    holes[:, :, 0, 0] = True
    filled = frames.copy()
    time = np.arange(30)
    for n, row, column in np.ndindex(5, 6, 8):
        gaps = holes[n, :, row, column]
        if not gaps.all():
            filled[n, gaps, row, column] = np.interp(time[gaps], time[~gaps], frames[n, ~gaps, row, column])
    path = saved(tmp_path, np.where(holes, np.nan, frames).astype(np.float32))
    windows = opened(path, fill="linear", scale="none")
    filled[:, :, 0, 0] = 0
    np.testing.assert_allclose(windows.frames[:, :, 0], filled[:4], rtol=1e-6)
    assert (~windows.mask).nonzero().tolist() == [[0, 0]]


def test_a_cell_without_a_value_in_one_sequence_cannot_be_filled(tmp_path):
    frames = waves()
    frames[2, :, 3, 4] = np.nan
    with pytest.raises(UserError, match="sequence 2, channel 0, row 3, column 4 has no value in the whole part"):
        opened(saved(tmp_path, frames), fill="linear")


def test_no_data_and_other_data_are_one_line(tmp_path):
    with pytest.raises(UserError, match="give it with --data PATH"):
        Frames().open("train", 2, 3, CPU)
    scaling = opened(saved(tmp_path, waves())).scaling
    other = Frames(data=saved(tmp_path, waves(shape=(6, 7)), "other.npy"))
    with pytest.raises(UserError, match="frames of 1x6x7, the run was trained on 1x6x8"):
        other.open("test", 2, 3, CPU, scaling)


@pytest.mark.parametrize("settings", [{}, {"every": 2, "split": "time", "scale": "minmax"}], ids=["whole", "every"])
def test_streamed_windows_are_those_in_memory(tmp_path, monkeypatch, settings):
    frames = waves(5, 60)
    frames[:, :, 1:3, 4] = np.nan
    path = saved(tmp_path, frames)
    config = Frames(data=path, **settings)

    def both() -> list:
        train = config.open("train", 2, 3, CPU, padding=lambda shape: (2, 0))
        return [train, config.open("test", 2, 3, CPU, train.scaling)]

    resident = both()
    without_memory(monkeypatch)
    for inside, outside in zip(resident, both(), strict=True):
        assert outside.streamed and not inside.streamed
        assert everything(outside).equal(everything(inside))
        assert outside.mask.equal(inside.mask) and outside.shape == inside.shape
        assert (outside.limits, outside.notes, outside.description) == (inside.limits, inside.notes, inside.description)


def test_what_is_streamed_is_refused_as_in_memory(tmp_path, monkeypatch):
    without_memory(monkeypatch)
    frames = waves()
    frames[1, 3, 2, 5] = np.nan
    with pytest.raises(UserError, match="first sequence 1, frame 3, channel 0, row 2, column 5"):
        opened(saved(tmp_path, frames))
    with pytest.raises(UserError, match="fill them in the file, or take a machine with more memory"):
        opened(tmp_path / "own.npy", fill="linear")
