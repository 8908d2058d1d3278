from __future__ import annotations

import gzip
import hashlib
import struct

import numpy as np
import pytest

from fastsep.data.mnist import files as mnist_files
from fastsep.data.mnist.files import load_digits, read_idx
from fastsep.errors import UserError


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def images():
    return np.random.RandomState(0).randint(0, 256, (12, 28, 28)).astype(np.uint8)


def write(directory, images, prefix="train", compress=False, labels=None):
    labels = np.arange(len(images), dtype=np.uint8) if labels is None else labels
    for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
        raw = idx(array)
        (directory / (name + ".gz" * compress)).write_bytes(gzip.compress(raw) if compress else raw)


@pytest.mark.parametrize("compress", [False, True])
def test_reads_both_parts_gzipped_or_not(tmp_path, images, compress):
    write(tmp_path, images, "train", compress)
    write(tmp_path, images[:5], "t10k", compress)
    np.testing.assert_array_equal(load_digits("mnist", "train", tmp_path), images)
    np.testing.assert_array_equal(load_digits("mnist", "test", tmp_path), images[:5])


def test_missing_files_are_fetched_with_checksums(tmp_path, images, monkeypatch):
    server, local = tmp_path / "server", tmp_path / "local"
    server.mkdir()
    write(server, images, compress=True)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in server.iterdir()}
    fetched = []

    def retrieve(url, known_hash, fname, path):
        source = server / fname
        assert known_hash == f"sha256:{sums[fname]}"
        fetched.append(url)
        path.mkdir(exist_ok=True)
        (path / fname).write_bytes(source.read_bytes())
        return str(path / fname)

    monkeypatch.setattr(mnist_files, "CHECKSUMS", sums)
    monkeypatch.setattr("pooch.retrieve", retrieve)
    for _ in range(2):
        np.testing.assert_array_equal(load_digits("mnist", "train", local), images)
    assert [url.rsplit("/", 1)[1] for url in fetched] == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]


def test_a_failing_mirror_gives_way_to_the_next_and_no_network_names_the_remedy(tmp_path, monkeypatch):
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append(url)
        raise OSError("no route to host")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    with pytest.raises(UserError, match=r"no route to host.*--digits sklearn"):
        load_digits("mnist", "train", tmp_path)
    assert len(asked) == len(mnist_files.MIRRORS) > 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: raw[:3],
        lambda raw: b"",
        lambda raw: b"\0\0\x0d\3" + raw[4:],
        lambda raw: gzip.compress(raw)[:-20],
        lambda raw: gzip.compress(raw)[:40] + b"zzzz" + gzip.compress(raw)[44:],
        lambda raw: b"<html>not found</html>",
    ],
)
def test_damaged_idx_is_refused_by_name(tmp_path, images, damage):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(idx(images)))
    with pytest.raises(UserError, match="train-images-idx3-ubyte") as error:
        read_idx(path)
    assert "\n" not in str(error.value)


def test_sizes_that_do_not_fit_are_refused(tmp_path, images):
    write(tmp_path, images, labels=np.zeros(3, np.uint8))
    with pytest.raises(UserError, match="3 labels for 12 images"):
        load_digits("mnist", "train", tmp_path)
    write(tmp_path, images[:, :20])
    with pytest.raises(UserError, match="not images of 28x28"):
        load_digits("mnist", "train", tmp_path)
