"""Dates of NetCDF files (CF conventions, section 4.4), as far as daily records of the ocean need them."""

from __future__ import annotations

import re

import numpy as np

STANDARD = ("standard", "gregorian", "proleptic_gregorian", "")
NO_LEAP = ("noleap", "365_day")
_SECONDS = {"second": 1, "sec": 1, "s": 1, "minute": 60, "min": 60, "hour": 3600, "h": 3600, "day": 86400, "d": 86400}
_UNITS = re.compile(
    r"\s*([a-z]+?)s? since (\d{1,4})-(\d{1,2})-(\d{1,2})(?:[T ]\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.\d*)?)?)?"
    r"\s*(?:Z|UTC|[+-]?0{1,2}(?::?00)?)?\s*",
    re.IGNORECASE,
)
_FIRST_GREGORIAN = 1583
_CUMULATIVE = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])


def decode_days(values: np.ndarray, units: str, calendar: str) -> np.ndarray:
    """The days (T,) datetime64[D] of times (T,) counted in ``units``, "hours since 1950-01-01".

    In a calendar without leap days there is no 29 February; all its other days are days of the common one.

    Raises:
        ValueError: other units or calendars, or times that are no dates.
    """
    found = _UNITS.fullmatch(units)
    if not found or found[1].lower() not in _SECONDS:
        raise ValueError(f"its times are counted in '{units}', not in hours or days since a date")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[1:])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60):
        raise ValueError(f"its times are counted in '{units}', which names no date")
    seconds = np.asarray(values, np.float64) * _SECONDS[found[1].lower()] + (hour * 3600 + minute * 60 + second)
    if seconds.ndim != 1 or not len(seconds) or not (np.abs(seconds) < 1e11).all():
        raise ValueError("its times are no dates")
    passed = np.floor((seconds + 0.5) / 86400).astype(np.int64)  # a tenth of a second off midnight is no other day
    calendar = calendar.lower()
    if calendar in NO_LEAP:
        return _without_leap_days(year, month, day, passed)
    if calendar not in STANDARD:
        raise ValueError(f"its calendar is '{calendar}', whose days are not those of a year: give a standard one")
    if year < _FIRST_GREGORIAN and calendar != "proleptic_gregorian":
        raise ValueError(f"its times are counted in '{units}', from before the calendar of today")
    return np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "D") + passed


def _without_leap_days(year: int, month: int, day: int, passed: np.ndarray) -> np.ndarray:
    number = year * 365 + _CUMULATIVE[month - 1] + day - 1 + passed  # days since the year 0
    years, of_year = np.divmod(number, 365)
    if (years < 1).any() or (years > 9999).any():
        raise ValueError("its times are no dates")
    months = np.searchsorted(_CUMULATIVE, of_year, side="right") - 1
    first = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + months
    return first.astype("datetime64[D]") + (of_year - _CUMULATIVE[months])
