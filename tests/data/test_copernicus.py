from __future__ import annotations

import numpy as np
import pytest

from fastsep.data.sst.climatology import climatology, climatology_keys
from fastsep.data.sst.copernicus import free_tiles
from fastsep.errors import UserError


def test_climatology_is_mean_and_deviation_of_the_training_years_days():
    days = np.arange(np.datetime64("2003-01-01"), np.datetime64("2008-01-01"))  # 2004 has a 29 February
    temperature = np.random.RandomState(0).normal(15, 2, (len(days), 3, 4))
    mean, std = climatology(temperature, days)
    border = int(0.8 * len(days))
    labels = np.array([str(day)[5:].replace("02-29", "02-28") for day in days])
    for label in ("01-01", "02-28", "07-14", "12-31"):
        same = labels == label
        values = temperature[:border][same[:border]]
        assert len(values) == {"02-28": 5}.get(label, len(values))  # four 28ths and one 29th
        np.testing.assert_allclose(mean[same], values.mean(), rtol=1e-12)
        np.testing.assert_allclose(std[same], values.std(), rtol=1e-12)


def test_climatology_knows_nothing_of_the_test_years():
    days = np.arange(np.datetime64("2001-01-01"), np.datetime64("2006-01-01"))
    temperature = np.random.RandomState(0).normal(15, 2, (len(days), 2, 2))
    before = climatology(temperature, days)
    temperature[int(0.8 * len(days)) :] += 100
    np.testing.assert_array_equal(climatology(temperature, days), before)


def test_each_day_of_the_year_has_its_own_key():
    days = np.arange(np.datetime64("2000-01-01"), np.datetime64("2004-12-31"))
    keys = climatology_keys(days)
    labels = [str(day)[5:].replace("02-29", "02-28") for day in days]
    assert len(set(zip(keys.tolist(), labels, strict=True))) == len(set(keys.tolist())) == len(set(labels)) == 365


def test_too_short_a_record_is_refused():
    days = np.arange(np.datetime64("2000-01-01"), np.datetime64("2001-01-01"))
    with pytest.raises(UserError, match="day of the year of 2000-10-"):
        climatology_keys(days)


def test_only_whole_tiles_without_land_are_taken():
    land = np.zeros((130, 200), bool)
    land[10, 70] = True
    assert free_tiles(land) == [(0, 0), (0, 128), (64, 0), (64, 64), (64, 128)]
