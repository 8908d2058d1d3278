from __future__ import annotations

import datetime

import h5py
import numpy as np
import pytest
import torch
from golden_items import GOLDEN, assert_item

from fastsep.data.taxibj.reader import load_year, window_starts
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.errors import UserError

CPU = torch.device("cpu")


def made_year(year: int) -> tuple[np.ndarray, list[bytes]]:
    """14 days; day 5 stops after 40 slots, day 9 is missing."""
    first = datetime.date(2000 + year, 3, 1)
    days = [first + datetime.timedelta(k) for k in range(14)]
    slots = {k: 40 if k == 5 else 48 for k in range(14) if k != 9}
    dates = [f"{days[k]:%Y%m%d}{slot:02d}".encode() for k, n in slots.items() for slot in range(1, n + 1)]
    return np.random.RandomState(400 + year).uniform(-5, 1000, (len(dates), 2, 32, 32)), dates


def write_year(path, flow, dates):
    with h5py.File(path, "w") as file:
        file["data"], file["date"] = flow, dates


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("taxibj")
    for year in range(13, 17):
        write_year(path / f"BJ{year}_M32x32_T30_InOut.h5", *made_year(year))
    return path


def test_windows_are_the_authors(directory):
    golden = GOLDEN["taxibj"]
    for split in ("train", "test"):
        windows = TaxiBJ(data=directory).open(split, 4, 4, CPU)
        assert len(windows) == golden[f"{split}_len"]
        assert windows.range == pytest.approx((golden["min"], golden["max"]), rel=1e-12)
        assert windows.shape == (2, 32, 32) and "newest first" in windows.description
        for number, (cond, target) in golden[f"{split}_items"].items():
            window = windows.batch(torch.tensor([int(number)]))[0]
            assert_item(window[:4], cond)
            assert_item(window[4:], target)


def test_chronological_windows_are_the_published_ones_turned_round(directory):
    published = TaxiBJ(data=directory).open("train", 4, 4, CPU)
    chronological = TaxiBJ(data=directory, order="chronological").open("train", 4, 4, CPU)
    index = torch.tensor([0, 500, 863])
    assert torch.equal(published.batch(index).flip(1), chronological.batch(index))


def test_no_window_spans_a_missing_day(directory):
    _, slots = load_year(directory / "BJ13_M32x32_T30_InOut.h5")
    assert len(slots) == 12 * 48
    starts = window_starts(slots, 8)
    assert len(starts) == 576 - 3 * 8  # three runs of days
    for step in range(8):
        np.testing.assert_array_equal(slots[starts + step], slots[starts] + step)


def test_negative_flow_is_zero(directory):
    flow, _ = load_year(directory / "BJ13_M32x32_T30_InOut.h5")
    assert flow.min() == 0 and (flow == 0).sum() > 1


def test_a_window_longer_than_a_run_of_days_is_refused(directory):
    with pytest.raises(UserError, match=r"only 0 windows of 304 frames .*: lower --nt-pred"):
        TaxiBJ(data=directory).open("test", 4, 300, CPU)


def test_missing_year_is_named(tmp_path):
    with pytest.raises(UserError, match=r"BJ13_M32x32_T30_InOut\.h5 is missing"):
        TaxiBJ(data=tmp_path).open("train", 4, 4, CPU)


def one_bad(value: float) -> np.ndarray:
    flow = np.zeros((2, 2, 32, 32))
    flow[1, 1, 3, 4] = value
    return flow


@pytest.mark.parametrize(
    ("flow", "dates", "message"),
    [
        (np.zeros((3, 2, 16, 32)), [b"2013030101"] * 3, r"\(3, 2, 16, 32\)"),
        (np.zeros((3, 2, 32, 32)), [b"2013030101"] * 2, r"for dates \(2,\)"),
        (one_bad(np.nan), [b"2013030101"] * 2, "1 values are no numbers of taxis, nan first .date 1, outflow, row 3"),
        (one_bad(-np.inf), [b"2013030101"] * 2, "-inf first"),
        (one_bad(1e20), [b"2013030101"] * 2, r"1e\+20 first"),
        (np.zeros((1, 2, 32, 32)), [b"2013030149"], "dates"),
        (np.zeros((1, 2, 32, 32)), [b"2013133101"], "dates"),
        (np.zeros((1, 2, 32, 32)), [b"march"], "dates"),
    ],
)
def test_wrong_contents_are_refused_by_name(tmp_path, flow, dates, message):
    path = tmp_path / "BJ13_M32x32_T30_InOut.h5"
    write_year(path, flow, dates)
    with pytest.raises(UserError, match=f"BJ13.*{message}"):
        load_year(path)


@pytest.mark.parametrize("keep", [0, 100, 4000, -1000])
def test_a_cut_file_is_refused_by_name(tmp_path, directory, keep):
    path = tmp_path / "BJ13_M32x32_T30_InOut.h5"
    path.write_bytes((directory / path.name).read_bytes()[:keep])
    with pytest.raises(UserError, match=r"BJ13_M32x32_T30_InOut\.h5 is not a whole TaxiBJ file") as error:
        load_year(path)
    assert "\n" not in str(error.value)
