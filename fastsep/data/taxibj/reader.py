"""TaxiBJ: flow of taxis into and out of the 32x32 districts of Beijing, every half hour (Zhang et al., AAAI 2017).

Comes from: the files that the authors of DeepST and ST-ResNet released for research (linked from their repository
TolicWang/DeepST, data/TaxiBJ), without a stated licence; fetch them by hand. Reproduces: the authors' windows, the
last 1,344 of them (four weeks) to test on. As theirs overlap, the last training windows hold frames of the first tests.
"""

from __future__ import annotations

import datetime
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from fastsep.data.base import SHORTER, Split
from fastsep.data.formats.hdf5 import open_hdf5, read_dataset
from fastsep.data.residency import place
from fastsep.data.taxibj.settings import TaxiBJ
from fastsep.data.windows import TensorWindows
from fastsep.errors import UserError

__all__ = ["SLOTS_PER_DAY", "TaxiBJWindows", "load_year", "open_windows", "window_starts"]

SLOTS_PER_DAY = 48
TEST_SLOTS = 28 * SLOTS_PER_DAY
_SHAPE = (2, 32, 32)
_REMEDY = "fetch it again"
_MOST_TAXIS = 1e5  # into or out of a district in half an hour; the published files have up to 1,292


def open_windows(config: TaxiBJ, split: Split, cond: int, pred: int, device: torch.device) -> TaxiBJWindows:
    """Windows within runs of complete days; values are 0 to 1 by the range of the training part.

    Raises:
        UserError: a year is missing or damaged, or no run of days is as long as a window.
    """
    directory = config.path
    years = [load_year(path) for path in config.files()]
    frames = np.concatenate([flow for flow, _ in years])  # (T, 2, 32, 32)
    if len(frames) <= TEST_SLOTS:
        raise UserError(f"{directory} has {len(frames) // SLOTS_PER_DAY} complete days, 28 of them to test on")
    training = frames[:-TEST_SLOTS]
    low, high = float(training.min()), float(training.max())
    frames = ((frames - low) / max(high - low, 1e-12)).astype(np.float32)

    length = cond + pred
    starts = np.concatenate([window_starts(dates, length) for _, dates in years], axis=0)
    offsets = np.cumsum([0, *(len(flow) for flow, _ in years[:-1])])
    counts = [len(window_starts(dates, length)) for _, dates in years]
    starts = starts + np.repeat(offsets, counts)
    if len(starts) <= TEST_SLOTS:
        raise UserError(
            f"only {len(starts)} windows of {length} frames lie within complete days, {TEST_SLOTS} of them to test "
            f"on: {SHORTER}"
        )
    starts = starts[:-TEST_SLOTS] if split == "train" else starts[-TEST_SLOTS:]
    return TaxiBJWindows(frames, starts, length, config.newest_first, (low, high), device)


class TaxiBJWindows(TensorWindows):
    """Windows of the flow.

    Attributes:
        range: least and largest flow of the training part, in taxis; 0 and 1 stand for them.
    """

    def __init__(self, frames, starts, length: int, newest_first: bool, range: tuple[float, float], device):
        pairs = torch.stack([torch.zeros(len(starts), dtype=torch.int64), torch.from_numpy(starts)], dim=1)
        super().__init__(place(frames[None], device), pairs, length, newest_first=newest_first, device=device)
        self.range = range
        self.description = "TaxiBJ, frames newest first as published" if newest_first else "TaxiBJ, oldest frame first"


def load_year(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The complete days of a year: flow (T, 2, 32, 32) float64 with negatives zeroed, and half-hours since 1970 (T,).

    Raises:
        UserError: the file is missing or damaged.
    """
    if not os.path.exists(path):
        raise UserError(f"{path} is missing, or may not be read: TaxiBJ needs the files of all four years, 13 to 16")
    with open_hdf5(path, "TaxiBJ file", _REMEDY) as file:
        flow, dates = read_dataset(file, "data"), read_dataset(file, "date", "SO")
    if flow.ndim != 4 or flow.shape[1:] != _SHAPE or dates.shape != flow.shape[:1]:
        raise UserError(f"{path} holds {flow.shape} for dates {dates.shape}, not (T, 2, 32, 32) for (T,): {_REMEDY}")
    impossible = ~(np.abs(flow) <= _MOST_TAXIS)  # true for NaN, too
    if impossible.any():
        slot, way, row, column = np.argwhere(impossible)[0]
        raise UserError(
            f"{path}: {np.count_nonzero(impossible)} values are no numbers of taxis, "
            f"{flow[slot, way, row, column]:g} first (date {slot}, {('in', 'out')[way]}flow, row {row}, "
            f"column {column}): {_REMEDY}"
        )
    try:
        slots = np.array([_half_hours(date) for date in dates], np.int64)
    except ValueError:
        raise UserError(f"{path} has dates that are not YYYYMMDD and a slot of 01 to 48: {_REMEDY}") from None
    keep = _in_complete_days(slots)
    return np.maximum(flow[keep], 0), slots[keep]


def window_starts(slots: np.ndarray, length: int) -> np.ndarray:
    """First rows (W,) of the windows of ``length`` consecutive half-hours after which a further one follows.

    The further one is the slot that the authors' windows look back from; it is in no window.
    """
    candidates = np.arange(max(len(slots) - length, 0))
    return candidates[slots[candidates + length] - slots[candidates] == length]


def _half_hours(date: bytes | str) -> int:
    text = date.decode("ascii") if isinstance(date, bytes) else str(date)
    if len(text) != 10 or not 1 <= int(text[8:]) <= SLOTS_PER_DAY:
        raise ValueError(text)
    day = datetime.date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    return (day - datetime.date(1970, 1, 1)).days * SLOTS_PER_DAY + int(text[8:]) - 1


def _in_complete_days(slots: np.ndarray) -> np.ndarray:
    """Rows of the days that have each of the 48 slots once, in the order of time."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, slot in enumerate(slots.tolist()):
        rows[slot // SLOTS_PER_DAY].append(row)
    complete = [
        sorted(rows[day], key=lambda row: slots[row])
        for day in sorted(rows)
        if len(rows[day]) == SLOTS_PER_DAY == len({int(slots[row]) for row in rows[day]})
    ]
    return np.array(complete, np.int64).reshape(-1)
