from __future__ import annotations

import numpy as np
import pytest

from fastsep.data.formats.netcdf_time import decode_days


@pytest.mark.parametrize(
    ("values", "units", "calendar", "first"),
    [
        ([0, 24], "hours since 1950-01-01", "gregorian", "1950-01-01"),
        ([1000.5, 1001.5], "days since 1990-01-01 00:00:00", "standard", "1992-09-27"),
        ([12, 36], "hours since 2000-02-28 12:00", "", "2000-02-29"),
        ([-86400, 0], "seconds since 1970-01-01T00:00:00Z", "proleptic_gregorian", "1969-12-31"),
        ([60, 1500], "Minutes since 2001-1-1 00:00:00.0 UTC", "standard", "2001-01-01"),
        ([23.99999999, 47.99999999], "hours since 1950-01-01", "standard", "1950-01-02"),
        ([730, 731], "days since 1999-03-01", "noleap", "2001-03-01"),
        ([58.5, 59.5], "days since 2000-01-01", "365_day", "2000-02-28"),
        ([-1, 0], "days since 0001-03-01", "noleap", "0001-02-28"),
    ],
)
def test_days(values, units, calendar, first):
    days = decode_days(np.array(values), units, calendar)
    assert days[0] == np.datetime64(first)
    leap = calendar in ("365_day",)
    assert days[1] - days[0] == np.timedelta64(2 if leap else 1, "D")  # 29 February is left out


@pytest.mark.parametrize(
    ("values", "units", "calendar", "message"),
    [
        ([0], "furlongs since 1950-01-01", "standard", "counted in 'furlongs since 1950-01-01'"),
        ([0], "days", "standard", "counted in 'days'"),
        ([0], "days since 1950-13-01", "standard", "names no date"),
        ([0], "days since 1950-02-31", "standard", "Day out of range"),
        ([0], "days since 0001-01-01", "standard", "before the calendar of today"),
        ([0], "days since 1950-01-01", "360_day", "calendar is '360_day'"),
        ([np.nan], "days since 1950-01-01", "standard", "are no dates"),
        ([1e300], "days since 1950-01-01", "noleap", "are no dates"),
        ([5e6], "days since 1950-01-01", "noleap", "are no dates"),
        ([], "days since 1950-01-01", "standard", "are no dates"),
    ],
)
def test_what_is_no_date_is_refused(values, units, calendar, message):
    with pytest.raises(ValueError, match=message):
        decode_days(np.array(values, float), units, calendar)
