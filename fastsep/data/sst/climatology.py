"""Mean and deviation of each day of the year, which the normalisation of sea surface temperature needs."""

from __future__ import annotations

import numpy as np

from fastsep.data.sst.reader import training_frames
from fastsep.errors import UserError


def climatology(temperature: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each day of the year, over the cells and the training years of a zone.

    29 February counts as the 28th. Days after the training part take no part, so that nothing of the test is known.

    Args:
        temperature: (T, 64, 64).
        days: (T,) datetime64[D].

    Returns:
        Two arrays (T,) float64, the day-of-year values of each frame.
    """
    keys = climatology_keys(days)
    training = slice(0, training_frames(len(days)))
    frame_mean = temperature.mean((1, 2), dtype=np.float64)  # (T,)
    frame_variance = temperature.var((1, 2), dtype=np.float64)
    count = np.bincount(keys[training], minlength=keys.max() + 1)
    count = np.maximum(count, 1)  # days that no frame has
    mean = np.bincount(keys[training], frame_mean[training], len(count)) / count
    # Variance within frames plus variance of the frames' means: no cancellation, unlike the mean of squares.
    spread = frame_variance + np.square(frame_mean - mean[keys])
    std = np.sqrt(np.bincount(keys[training], spread[training], len(count)) / count)
    return mean[keys], std[keys]


def climatology_keys(days: np.ndarray) -> np.ndarray:
    """A number for the day of the year of each of ``days`` (T,), the same for 28 and 29 February.

    Raises:
        UserError: a day of the year is in no training year.
    """
    months = days.astype("datetime64[M]")
    month = months.astype(np.int64) % 12
    day = (days - months).astype(np.int64)
    day = np.where((month == 1) & (day == 28), 27, day)
    keys = month * 31 + day
    training = training_frames(len(days))
    unknown = np.flatnonzero(~np.isin(keys, keys[:training]))
    if len(unknown):
        raise UserError(
            f"the first 80% of the days, {training}, do not have the day of the year of {days[unknown[0]]}: "
            "give at least 15 months"
        )
    return keys
