from __future__ import annotations

import os
import pickle
import zlib

import numpy as np
import pytest
import torch
from golden_items import GOLDEN, assert_item
from PIL import Image

from fastsep.data.chairs.reader import load_views, split_chairs
from fastsep.data.chairs.settings import Chairs
from fastsep.data.chairs.views import decode, pack_header
from fastsep.data.formats.checksum import pack_checksums
from fastsep.errors import UserError

CPU = torch.device("cpu")


def made_view(chair: int, view: int) -> Image.Image:
    pixels = np.random.RandomState(1000 * chair + view).randint(0, 256, (15, 15, 3)).astype(np.uint8)
    return Image.fromarray(pixels.repeat(40, 0).repeat(40, 1))


NAMES = [f"{chair:02x}chair" for chair in range(20)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """20 chairs. Only those whose windows have golden values have views, for speed."""
    root = tmp_path_factory.mktemp("chairs")
    order = GOLDEN["chairs"]["train_order"]
    views = np.empty((20, 62, 3, 64, 64), np.uint8)
    views[:] = np.arange(64)
    for chair in {NAMES.index(order[int(number) % len(order)]) for number in GOLDEN["chairs"]["train_items"]}:
        for view in range(62):
            made_view(chair, view).save(root / "view.png", compress_level=0)
            views[chair, view] = decode(root / "view.png")
    np.save(root / "chairs.npy", views)
    return root / "chairs.npy"


def test_order_split_and_windows_are_the_authors(file):
    golden = GOLDEN["chairs"]
    for split in ("train", "test"):
        assert [NAMES[row] for row in split_chairs(20, split)] == golden[f"{split}_order"]
        assert len(Chairs(data=file).open(split, 5, 10, CPU)) == golden[f"{split}_len"]
    windows = Chairs(data=file).open("train", 5, 10, CPU)
    assert windows.shape == (3, 64, 64) and windows.length == 15
    for number, (cond, target) in golden["train_items"].items():
        window = windows.batch(torch.tensor([int(number)]))[0]
        assert_item(window[:5], cond)
        assert_item(window[5:], target)


def test_windows_go_round(file):
    windows = Chairs(data=file).open("train", 5, 10, CPU)
    chairs = len(windows) // 62
    last = windows.batch(torch.tensor([61 * chairs]))[0]  # starts at the last view
    first = windows.batch(torch.tensor([0]))[0]
    assert torch.equal(last[1:], first[:-1])


def test_views_that_do_not_fit_the_device_stay_mapped(file, monkeypatch):
    resident = Chairs(data=file).open("train", 5, 10, CPU)
    monkeypatch.setattr("fastsep.data.residency.free_bytes", lambda device: 0)
    mapped = Chairs(data=file).open("train", 5, 10, CPU)
    index = torch.tensor([3, 700])
    assert torch.equal(mapped.batch(index), resident.batch(index))


def test_a_window_longer_than_a_turn_is_refused(file):
    with pytest.raises(UserError, match="63 views is longer than the 62"):
        Chairs(data=file).open("train", 5, 58, CPU)


def test_missing_damaged_or_other_files_are_refused(tmp_path, file):
    with pytest.raises(UserError, match=r"fastsep\.prepare_chairs"):
        Chairs(data=tmp_path / "none.npy").open("train", 5, 10, CPU)
    cut = tmp_path / "cut.npy"
    cut.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"cut\.npy is not a whole NumPy file of chairs"):
        Chairs(data=cut).open("train", 5, 10, CPU)
    other = tmp_path / "other.npy"
    np.save(other, np.zeros((3, 60, 3, 64, 64), np.uint8))
    with pytest.raises(UserError, match="62 views"):
        Chairs(data=other).open("train", 5, 10, CPU)
    np.save(other, np.random.RandomState(0).randint(0, 256, (1, 62, 3, 64, 64)).astype(np.uint8))
    with pytest.raises(UserError, match="too few"):
        Chairs(data=other).open("train", 5, 10, CPU)


def test_damaged_views_are_refused_by_name(tmp_path):
    path = tmp_path / "view.png"
    made_view(0, 0).save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2], whole[:60] + b"zzzz" + whole[64:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"view\.png is not a whole PNG"):
            decode(path)
    made_view(0, 0).resize((500, 600)).save(path)
    with pytest.raises(UserError, match="500x600 pixels, not 600x600"):
        decode(path)


def checked_file(path, chairs=3):
    """Chairs with the checksums that preparing them adds."""
    views = np.random.RandomState(0).randint(0, 256, (chairs, 62, 3, 64, 64)).astype(np.uint8)
    path.write_bytes(pack_header(chairs) + views.tobytes() + pack_checksums([zlib.crc32(chair) for chair in views]))
    return views


def test_views_that_changed_on_the_disk_are_refused_by_chair(tmp_path):
    path = tmp_path / "chairs.npy"
    views = checked_file(path)
    np.testing.assert_array_equal(load_views(path), views)
    whole = path.read_bytes()
    for place, message in (
        (5000 + views[0].nbytes, "1 of its chairs do not fit their checksums, chair 1 first"),
        (len(whole) - 20, "the checksums after its array are damaged"),
        (len(whole) - 1, "the checksums after its array are damaged"),
    ):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=message):
            load_views(path)
    for missing in (5, 4 * len(views) + 12):
        path.write_bytes(whole[:-missing])
        with pytest.raises(UserError, match="the checksums after its array are damaged"):
            load_views(path)


def test_views_of_one_colour_are_refused_with_count_and_place(tmp_path):
    views = checked_file(tmp_path / "chairs.npy", 2)
    views[1, 5:7] = 255
    np.save(tmp_path / "chairs.npy", views)
    with pytest.raises(UserError, match="2 of its views are of one colour, view 5 of chair 1 first"):
        load_views(tmp_path / "chairs.npy")


def test_a_crafted_pickle_in_a_numpy_file_does_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'harm'}",)

    path = tmp_path / "chairs.npy"
    np.save(path, np.array([Payload()], object), allow_pickle=True)
    with pytest.raises(UserError, match="is not a whole NumPy file"):
        load_views(path)
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(UserError, match="is not a whole NumPy file"):
        load_views(path)
    assert not (tmp_path / "harm").exists()
