from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_items import GOLDEN, assert_item
from PIL import Image

from fastsep.data.chairs import Chairs, split_chairs
from fastsep.data.chairs_views import decode
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
    views = np.zeros((20, 62, 3, 64, 64), np.uint8)
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
    with pytest.raises(UserError, match=r"cut\.npy is not a whole NumPy file"):
        Chairs(data=cut).open("train", 5, 10, CPU)
    other = tmp_path / "other.npy"
    np.save(other, np.zeros((3, 60, 3, 64, 64), np.uint8))
    with pytest.raises(UserError, match="62 views"):
        Chairs(data=other).open("train", 5, 10, CPU)
    np.save(other, np.zeros((1, 62, 3, 64, 64), np.uint8))
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
