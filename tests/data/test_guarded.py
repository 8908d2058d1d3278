from __future__ import annotations

import os
import time

import numpy as np
import pytest

from fastsep.data.formats.guarded import guarded


def test_values_come_back():
    assert guarded(lambda: ("units", 3)) == ("units", 3)
    np.testing.assert_array_equal(guarded(lambda: np.arange(100_000)), np.arange(100_000))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: os._exit(3), "ends in a crash"),
        (lambda: time.sleep(60), "comes to no end"),
    ],
)
def test_what_goes_wrong_stays_in_the_other_process(call, message):
    with pytest.raises(ValueError, match=message):
        guarded(call, patience=0.5)
