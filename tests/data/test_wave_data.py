"""WaveEq as training sees it: splits, windows, scaling, pixels, files."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from fastsep.data.wave.files import WaveSettings, draw, open_frames, pixels
from fastsep.data.wave.generate import generate
from fastsep.data.wave.settings import Wave, Wave100
from fastsep.data.wave.writers import write_hdf5, write_pt
from fastsep.errors import UserError
from kernels.wave import simulate

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "data.json").read_text())
CPU = torch.device("cpu")
SMALL = WaveSettings(size=10, frames=80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wave")
    generate(path, SMALL, CPU, "hdf5")
    return path


def test_golden_draws_and_pixels() -> None:
    f0, c = draw(300, 42)
    golden = GOLDEN["wave_eq"]
    assert np.stack([f0, c], 1)[:8].tolist() == golden["f0_c_first_8"]
    assert [f0[-1], c[-1]] == golden["f0_c_last"]
    rows, columns = pixels()
    assert rows.tolist() == GOLDEN["wave_100_pixels"]["rand_w"]
    assert columns.tolist() == GOLDEN["wave_100_pixels"]["rand_h"]


def test_views_are_scaled_subsampled_and_split() -> None:
    f0, c = (torch.from_numpy(x) for x in draw(10, 42))
    raw = simulate(c, f0, frames=80)
    low, high = raw.amin((1, 2, 3), True), raw.amax((1, 2, 3), True)
    expected = ((raw - low) / (high - low))[:, ::2]  # (10, 40, 64, 64)
    train, test = (Wave(size=10, frames=80).open(split, 5, 20, CPU) for split in ("train", "test"))
    assert train.frames.shape == (8, 40, 1, 64, 64)
    assert torch.equal(torch.cat([train.frames, test.frames])[:, :, 0], expected)
    rows, columns = GOLDEN["wave_100_pixels"]["rand_w"], GOLDEN["wave_100_pixels"]["rand_h"]
    points = Wave100(size=10, frames=80).open("test", 5, 20, CPU)
    assert points.shape == (1, 100)
    assert torch.equal(points.frames[:, :, 0], expected[8:, :, rows, columns])


@pytest.mark.parametrize(("size", "train"), [(2, 1), (3, 2), (5, 4), (6, 5), (12, 10), (300, 240)])
def test_four_fifths_are_trained_on(size: int, train: int) -> None:
    settings = Wave100(size=size, frames=60)
    assert [len(settings.open(split, 5, 20, CPU).frames) for split in ("train", "test")] == [train, size - train]


def test_windows_of_the_published_data_set() -> None:
    train, test = Wave100().open("train", 5, 20, CPU), Wave100().open("test", 5, 40, CPU)
    assert len(train) == 30_240
    assert len(test) == 6_360
    assert train.frames.untyped_storage().data_ptr() == test.frames.untyped_storage().data_ptr()
    published = Wave100(windows="published").open("train", 5, 20, CPU)
    assert len(published) == 9_600
    assert int(published.starts[-1, 0]) == 76
    batch = published.batch(torch.tensor([0, 126, 9_599]))
    assert batch.shape == (3, 25, 1, 100)
    assert torch.equal(batch[1], published.frames[1, :25])


def test_files_give_what_memory_gives(folder: Path, tmp_path: Path) -> None:
    expected = Wave(size=10, frames=80).open("train", 5, 5, CPU).frames.clone()
    generate(tmp_path, SMALL, CPU, "pt")
    for data in (folder, folder / "wave.h5", tmp_path, tmp_path / "data"):
        assert torch.equal(Wave(data=data).open("train", 5, 5, CPU).frames, expected)


def test_a_file_made_anew_is_read_anew(tmp_path: Path) -> None:
    frames = []
    for seed in (1, 2, 2):
        generate(tmp_path, replace(SMALL, seed=seed), CPU)
        frames.append(Wave(data=tmp_path).open("train", 5, 5, CPU).frames.clone())
    assert not torch.equal(frames[0], frames[1]) and torch.equal(frames[1], frames[2])


def refused(data: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        Wave(data=data).open("train", 5, 5, CPU)
    assert "\n" not in str(caught.value)


def test_damaged_files(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "does not exist")
    refused(tmp_path, "holds no wave.h5")
    whole = (folder / "wave.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.h5", "is not a whole HDF5 file of waves")
    (tmp_path / "text.h5").write_text("not data")
    refused(tmp_path / "text.h5", "is not a whole HDF5 file of waves")


def one_bad(value: float) -> np.ndarray:
    """Five sequences, one of which has a bad value."""
    array = np.random.RandomState(0).rand(5, 40, 16, 16).astype(np.float32)
    array[3, 7, 5, 2], array[3, 7, 5, 3] = value, -3e38
    return array


def test_wrong_shapes_and_values(tmp_path: Path) -> None:
    for name, array, match in (
        ("flat", np.ones((3, 40, 64), np.float32), "shape"),
        ("oblong", np.ones((3, 40, 64, 32), np.float32), "shape"),
        ("constant", np.ones((5, 40, 16, 16), np.float32), "5 of 5 sequences are constant"),
        ("nan", one_bad(np.nan), "1 of 5 sequences are constant or not finite and cannot be scaled, sequence 3 first"),
        ("infinite", one_bad(np.inf), "sequence 3 first"),
        ("overflowing", one_bad(3e38), "sequence 3 first"),
        ("short", np.random.rand(5, 8, 16, 16).astype(np.float32), "no train window"),
        ("text", np.full((5, 40, 16, 16), b"x"), "numbers"),
    ):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["simulations"] = array
        refused(tmp_path / f"{name}.h5", match)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["frames"] = 1
    refused(tmp_path / "other.h5", "simulations")


def test_incomplete_pt_sets(tmp_path: Path) -> None:
    generate(tmp_path, WaveSettings(size=3, frames=12, grid=16), CPU, "pt")
    second = tmp_path / "data" / "homogenous_wave1.pt"
    saved = second.read_bytes()
    second.write_bytes(saved[:500])
    refused(tmp_path, "homogenous_wave1.pt is not a whole file of a wave")
    torch.save({"simul": torch.zeros(12, 8, 8), "c": 300.0}, second)
    refused(tmp_path, "holds .12, 8, 8.")
    second.unlink()
    refused(tmp_path, "homogenous_wave1.pt is missing")


@pytest.mark.parametrize("writer", [write_hdf5, write_pt])
def test_interrupted_writing_keeps_what_was_there(writer, tmp_path: Path) -> None:
    settings = WaveSettings(size=2, frames=6, grid=8)
    f0, c = draw(2, 42)
    chunk = np.random.rand(2, 6, 8, 8).astype(np.float32)

    def attempt(fail: bool, value: np.ndarray) -> None:
        with writer(tmp_path, settings, f0, c) as out:
            out.write_at(0, value)
            if fail:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(True, chunk)
    assert not list(tmp_path.iterdir())
    attempt(False, chunk)
    with pytest.raises(KeyboardInterrupt):
        attempt(True, 0 * chunk)
    assert torch.equal(open_frames(tmp_path).read(0, 2), torch.from_numpy(chunk))
    assert len(list(tmp_path.iterdir())) == 1


def test_smaller_pt_set_replaces_a_larger_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("mine")
    for size in (3, 2):
        generate(tmp_path, WaveSettings(size=size, frames=6, grid=8), CPU, "pt")
    assert open_frames(tmp_path).shape == (2, 6, 8, 8)
    assert (tmp_path / "data" / "notes.txt").read_text() == "mine"


def test_values_that_changed_on_the_disk_are_refused_by_sequence(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "wave.h5").read_bytes()
    with h5py.File(folder / "wave.h5") as file:
        data = file["simulations"]
        assert len(file[data.attrs["crc32"]]) == 10
        row = data.dtype.itemsize * data[0].size
        at, sums_at = data.id.get_offset(), file[data.attrs["crc32"]].id.get_offset()
    (tmp_path / "same.h5").write_bytes(whole)
    Wave(data=tmp_path / "same.h5").open("train", 5, 5, CPU)
    for place, sequence in ((at + 4 * row + 1000, 4), (at + 10 * row - 1, 9), (sums_at + 4 * 7, 7)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / "damaged.h5").write_bytes(damaged)
        refused(tmp_path / "damaged.h5", f"1 of its sequences do not fit their checksums, sequence {sequence} first")


def test_pt_files_that_changed_on_the_disk_are_refused(tmp_path: Path) -> None:
    generate(tmp_path, WaveSettings(size=2, frames=12, grid=16), CPU, "pt")
    path = tmp_path / "data" / "homogenous_wave1.pt"
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(torch.load(path)["simul"][5].numpy().tobytes()) + 77] ^= 1
    path.write_bytes(damaged)
    refused(tmp_path, "homogenous_wave1.pt is not a whole file of a wave .*CRC-32")


def test_more_sequences_than_memory_holds_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("fastsep.data.residency.free_bytes", lambda device: 10_000_000)
    with pytest.raises(
        UserError,
        match=r"a data set of 20 sequences takes 0\.25 GB of memory, 10\.00 MB are free: lower --size or --frames",
    ):
        Wave(size=20).open("train", 5, 20, CPU)


def test_a_crafted_pickle_among_the_authors_files_does_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'harm'}",)

    for zipped in (True, False):
        torch.save({"simul": Payload()}, tmp_path / "homogenous_wave0.pt", _use_new_zipfile_serialization=zipped)
        refused(tmp_path, "homogenous_wave0.pt is not a whole file of a wave")
    (tmp_path / "homogenous_wave0.pt").write_bytes(pickle.dumps(Payload(), 2))
    refused(tmp_path, "homogenous_wave0.pt is not a whole file of a wave")
    assert not (tmp_path / "harm").exists()
