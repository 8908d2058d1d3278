"""Compares arrays with the golden data values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

GOLDEN = json.loads((Path(__file__).parent / "golden" / "data.json").read_text())


def assert_item(array, item: dict, *, atol: float = 1e-6) -> None:
    """Shape, sum, norm and sampled values of ``array`` are those of ``item``."""
    values = np.asarray(array, np.float64)
    assert list(values.shape) == item["shape"]
    np.testing.assert_allclose(values.ravel()[item["index"]], item["value"], rtol=0, atol=atol)
    np.testing.assert_allclose(np.sqrt(np.square(values).sum()), item["l2"], rtol=1e-6)
    np.testing.assert_allclose(values.sum(), item["sum"], rtol=1e-6, atol=atol * np.sqrt(values.size) * 10)
