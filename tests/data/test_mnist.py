from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest
import torch
from golden_items import GOLDEN, assert_item

from fastsep.data.mnist.moving_digits import random_bounces, render, straight
from fastsep.data.mnist.reader import draw_test_scene, single_digits
from fastsep.data.mnist.settings import TEST_SEED, MovingMNIST
from fastsep.data.mnist.videos import draw_scene, read_scene, write_videos
from fastsep.errors import UserError

CPU = torch.device("cpu")
SKLEARN = MovingMNIST(digits="sklearn", test_videos=20, videos_per_epoch=64)


def naive_frames(images, ids, positions, grid):
    """Digits pasted one by one, the definition of a frame."""
    frames = np.zeros((positions.shape[1], grid, grid))
    for digit, path in zip(ids, positions, strict=True):
        for t, (row, column) in enumerate(path):
            frames[t, row : row + 28, column : column + 28] += images[digit]
    return np.minimum(frames, 255)


def speed_at(start: int, speed: int, time: int, extent: int) -> int:
    """Speed after handling the collisions of ``time`` steps: it flips at each wall crossed, not at one touched."""
    distance = start + speed * time if speed > 0 else extent - start - speed * time  # from the wall behind
    return speed * (-1) ** max(-(-distance // extent) - 1, 0)


def test_seed_42_gives_the_authors_videos():
    golden = GOLDEN["moving_mnist_test"]
    images = np.random.RandomState(7).randint(0, 256, (10000, 28, 28)).astype(np.uint8)
    scene = draw_scene(
        images, "made", videos=5000, frames=100, n_digits=2, grid=64, speed=4, stochastic=False, seed=TEST_SEED
    )
    assert sorted(scene.digit_ids.flatten().tolist()) == list(range(10000))
    times = [0, 1, 2, 3, 10, 50, 99]
    frames = scene.draw(torch.arange(len(golden["videos"])), 100)
    for video, expected in enumerate(golden["videos"]):
        assert scene.digit_ids[video].tolist() == expected["digit_ids"]
        latents = np.array(expected["latents_t0_1_2_3_10_50_99"])  # (digits, times, 4)
        np.testing.assert_array_equal(scene.positions[video][:, times], latents[..., :2])
        speeds = [
            [[speed_at(*s, t, 36) for s in zip(digit[0, :2], digit[0, 2:], strict=True)] for t in times]
            for digit in latents
        ]
        np.testing.assert_array_equal(speeds, latents[..., 2:])
        assert_item(frames[video, :, 0], expected["video"], atol=0)


def test_closed_form_is_step_by_step_reflection():
    start, speed = torch.randint(0, 37, (50, 2, 2)), torch.randint(-4, 5, (50, 2, 2))
    positions = straight(start, speed, 60, 36)
    place, velocity = start.clone(), speed.clone()
    for t in range(60):
        assert torch.equal(positions[:, :, t], place)
        place = place + velocity
        low, high = place < 0, place > 36
        place = torch.where(low, -place, torch.where(high, 72 - place, place))
        velocity = torch.where(low | high, -velocity, velocity)


def test_random_bounces_stay_inside_and_change_speed_only_at_walls():
    start, speed = torch.randint(0, 37, (200, 2, 2)), torch.randint(-4, 5, (200, 2, 2))
    fresh, away = torch.randint(-4, 5, (39, 200, 2, 2)), torch.randint(1, 5, (39, 200, 2, 2))
    positions = random_bounces(start, speed, fresh, away, 36)
    assert positions.min() >= 0 and positions.max() <= 36
    place, velocity, bounces = start, speed, 0
    for t in range(1, 40):
        moved = place + velocity
        low, high = moved < 0, moved > 36
        hit = low | high
        bounces += int(hit.sum())
        # Where nothing was hit, the digit goes straight on.
        assert torch.equal(positions[:, :, t][~hit], moved[~hit])
        assert torch.equal(positions[:, :, t][low], -moved[low])
        assert torch.equal(positions[:, :, t][high], 72 - moved[high])
        either = hit.any(-1, keepdim=True)
        chosen = torch.where(low, away[t - 1], torch.where(high, -away[t - 1], fresh[t - 1]))
        place, velocity = positions[:, :, t], torch.where(either, chosen, velocity)
    assert bounces > 100


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("grid", [64, 41])
def test_render_is_pasting_with_sums_clipped(digits, grid):
    images = torch.randint(0, 256, (5, digits, 28, 28), dtype=torch.uint8)
    positions = torch.randint(0, grid - 27, (5, digits, 7, 2))
    frames = render(images, positions, grid)
    assert frames.shape == (5, 7, 1, grid, grid) and frames.dtype == torch.uint8
    for video in range(5):
        expected = naive_frames(images[video].numpy(), range(digits), positions[video].numpy(), grid)
        np.testing.assert_array_equal(frames[video, :, 0], expected)


@pytest.mark.parametrize("stochastic", [False, True])
def test_training_videos_are_fresh_and_reproducible(stochastic):
    windows = dataclasses.replace(SKLEARN, stochastic=stochastic).open("train", 5, 10, CPU)
    assert len(windows) == 64 and windows.length == 15 and windows.shape == (1, 64, 64)
    index = torch.arange(6)
    torch.manual_seed(3)
    first, second = windows.batch(index), windows.batch(index)
    assert first.shape == (6, 15, 1, 64, 64) and first.dtype == torch.float32
    assert first.min() == 0 and 0.5 < first.max() <= 1
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(windows.batch(index), first)


def test_a_key_decides_which_videos_are_drawn():
    windows = SKLEARN.open("train", 5, 10, CPU)
    index = torch.arange(6)
    batches = []
    for key in (5, 6, 5, 2**63 - 1):
        torch.rand(7)  # whatever was drawn before
        windows.reseed(key)
        batches.append(windows.batch(index))
    assert torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], batches[1]) and not torch.equal(batches[1], batches[3])


def test_an_epoch_is_200_000_videos():
    assert len(MovingMNIST(digits="sklearn").open("train", 5, 10, CPU)) == 200_000


def test_training_video_is_digits_of_the_training_part_that_move():
    windows = dataclasses.replace(SKLEARN, n_digits=1).open("train", 5, 5, CPU)
    images = {image.tobytes() for image in single_digits(SKLEARN, "train")}
    video = (windows.batch(torch.arange(1))[0, :, 0] * 255).round().to(torch.uint8)
    patches = video.unfold(1, 28, 1).unfold(2, 28, 1)  # (10, 37, 37, 28, 28)
    for frame, whole in zip(patches, video, strict=True):
        mass = frame.float().sum((-1, -2))
        candidates = (mass == whole.float().sum()).nonzero()
        assert any(frame[row, column].numpy().tobytes() in images for row, column in candidates)


def test_bundled_digits_are_split_disjointly_and_named():
    train, test = single_digits(SKLEARN, "train"), single_digits(SKLEARN, "test")
    assert train.shape == (1437, 28, 28) and test.shape == (360, 28, 28) and train.dtype == np.uint8
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    assert train.max() == 255
    for split in ("train", "test"):
        assert "not MNIST" in SKLEARN.open(split, 5, 10, CPU).description


def test_swap_targets_pair_digits_with_trajectories_each_way():
    windows = SKLEARN.open("test", 5, 5, CPU)
    scene = windows.scene
    content, motion = torch.tensor([3, 4]), torch.tensor([8, 8])
    targets = windows.swap_targets(content, motion)
    assert targets.shape == (2, 2, 10, 1, 64, 64)
    ids = scene.digit_ids[3].numpy()
    for order, digits in enumerate((ids, ids[::-1])):
        expected = naive_frames(scene.images.numpy(), digits, scene.positions[8, :, :10].numpy(), 64)
        np.testing.assert_allclose(targets[0, order, :, 0], expected / 255, atol=1e-6)
    own = windows.swap_targets(content, content)
    assert torch.equal(own[:, 0], windows.batch(content))


def test_a_file_gives_the_same_windows_and_holds_the_frames(tmp_path):
    path = tmp_path / "deep" / "videos.h5"
    write_videos(draw_test_scene(SKLEARN, TEST_SEED), path, lambda chunks, total: chunks)
    fresh, read = SKLEARN.open("test", 5, 10, CPU), MovingMNIST(data=path).open("test", 5, 10, CPU)
    assert [p.name for p in path.parent.iterdir()] == ["videos.h5"]
    index = torch.tensor([0, 7, 19])
    assert len(read) == 20 and torch.equal(fresh.batch(index), read.batch(index))
    assert read.description == fresh.description
    with h5py.File(path) as file:
        assert file["videos"].shape == (20, 100, 64, 64)
        assert file["videos"].id.get_offset() is not None  # contiguous: can be mapped
        np.testing.assert_array_equal(file["videos"][7, :15], (fresh.batch(index)[1, :, 0] * 255).round())


def test_bad_files_and_settings_are_refused(tmp_path):
    junk = tmp_path / "junk.h5"
    junk.write_bytes(b"not HDF5")
    with pytest.raises(UserError, match=r"junk\.h5 is not a whole file of Moving MNIST videos"):
        MovingMNIST(data=junk).open("test", 5, 10, CPU)
    with pytest.raises(UserError, match="directory of MNIST"):
        MovingMNIST(data=junk).open("train", 5, 10, CPU)
    short = tmp_path / "short.h5"
    write_videos(draw_test_scene(SKLEARN, 1), short, lambda chunks, total: chunks)
    with h5py.File(short, "r+") as file:
        del file["positions"]
        file["positions"] = np.full((20, 2, 100, 2), 37)
    with pytest.raises(UserError, match="do not fit"):
        read_scene(short)
    with pytest.raises(UserError, match="101 frames is longer"):
        SKLEARN.open("test", 5, 96, CPU)
    for bad in ({"n_digits": 4}, {"grid": 28}, {"speed": 0}, {"test_videos": 0}):
        with pytest.raises(UserError, match="--"):
            MovingMNIST(**bad)


def test_a_place_that_bundled_digits_are_not_read_from_is_said(tmp_path, capsys):
    MovingMNIST(digits="sklearn", data=tmp_path).open("train", 5, 10, CPU)
    assert f"{tmp_path} is not read" in capsys.readouterr().err


@pytest.mark.parametrize("stochastic", [False, True])
def test_shares_of_a_batch_are_its_rows(stochastic):
    windows = dataclasses.replace(SKLEARN, stochastic=stochastic).open("train", 5, 10, CPU)
    windows.reseed(5)
    whole = windows.batch(torch.arange(6))
    parts = []
    for number in range(3):
        windows.share = number, 3
        windows.reseed(5)
        parts.append(windows.batch(torch.arange(2)))
    assert torch.equal(torch.cat(parts), whole)
