"""The fingerprint tells data apart, and sees through names and places."""

import numpy as np
import pytest

from fastsep.data.chairs.settings import Chairs
from fastsep.data.fingerprint import IN_MEMORY, fingerprint
from fastsep.data.frames.settings import Frames
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.wave.settings import Wave


def write(path, size, seed=0, **changes):
    values = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    for place, value in changes.items():
        values[int(place[1:])] ^= value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(values.tobytes())
    return path


def test_names_and_places_do_not_count(tmp_path):
    a, b = (Wave(data=write(tmp_path / name, 1000)) for name in ("a.h5", "b/wave.h5"))
    assert fingerprint(a) == fingerprint(b) == fingerprint(Wave(data=tmp_path / "b"))


@pytest.mark.parametrize("size", [10, 1_000, 10_000_000])
def test_size_and_sampled_bytes_count(tmp_path, size):
    known = fingerprint(Chairs(data=write(tmp_path / "a", size)))
    others = [
        write(tmp_path / "b", size + 1),
        write(tmp_path / "c", size, seed=1),
        write(tmp_path / "d", size, _0=1),
        write(tmp_path / "e", size, **{f"_{size - 1}": 1}),
    ]
    assert known not in [fingerprint(Chairs(data=other)) for other in others]


def test_several_files_count_in_their_order(tmp_path):
    for name, seed in (("homogenous_wave0.pt", 0), ("homogenous_wave1.pt", 1)):
        write(tmp_path / "a" / name, 100, seed)
        write(tmp_path / "b" / "data" / name, 100, seed)
        write(tmp_path / "c" / name, 100, 1 - seed)
    a, b, c = (fingerprint(Wave(data=tmp_path / name)) for name in "abc")
    assert a == b != c


def test_what_is_made_in_memory_has_none():
    assert fingerprint(Wave()) == fingerprint(MovingMNIST(digits="sklearn")) == IN_MEMORY


def test_absent_files_are_left_to_the_reader(tmp_path):
    assert fingerprint(Chairs(data=tmp_path / "absent.npy")).startswith("sha256:")


def test_files_of_a_folder_count_in_natural_order(tmp_path):
    for number in range(12):
        write(tmp_path / "a" / f"x{number}.npy", 100, number)
        write(tmp_path / "b" / f"run-{number}.npy", 100, number)
        write(tmp_path / "c" / f"x{11 - number}.npy", 100, number)
    a, b, c = (fingerprint(Chairs(data=tmp_path / name)) for name in "abc")
    assert a == b != c


def test_hidden_files_are_no_frames(tmp_path):
    """What macOS leaves beside files, or a file that is being written."""
    for name in ("b", "a"):
        write(tmp_path / f"{name}.npy", 100, 0)
    before = fingerprint(Frames(data=tmp_path))
    for name in ("._a.npy", ".b.part.npy"):
        write(tmp_path / name, 10, 1)
    assert fingerprint(Frames(data=tmp_path)) == before and len(Frames(data=tmp_path).files()) == 2


@pytest.mark.parametrize("number", [0, 998, 999])
def test_of_very_many_files_every_size_counts(number, tmp_path, monkeypatch):
    from fastsep.data import fingerprint as module

    monkeypatch.setattr(module, "_FILES", 100)
    for k in range(1000):
        write(tmp_path / "store" / str(k // 100) / str(k % 100), 10, k)
    known = fingerprint(Chairs(data=tmp_path / "store"))
    assert known == fingerprint(Chairs(data=tmp_path / "store"))
    path = tmp_path / "store" / str(number // 100) / str(number % 100)
    path.write_bytes(path.read_bytes() + b"x")
    assert fingerprint(Chairs(data=tmp_path / "store")) != known


def test_an_empty_folder_has_a_fingerprint(tmp_path):
    assert fingerprint(Chairs(data=tmp_path)).startswith("sha256:")
