"""What a file says about where and when its frames are, kept so that a forecast can say it, too."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastsep.data.frames.array import Array
from fastsep.data.frames.source import Coordinate

_LARGEST = 1 << 24  # elements


def read_coordinates(arrays: Sequence[Array], chosen: Sequence[Array]) -> dict[str, Coordinate]:
    """Those of ``arrays`` that are named as an axis of the chosen ones, or by their attribute ``coordinates``.

    Raises:
        ValueError: one of them is damaged.
    """
    axes = {name for array in chosen for name in array.dims}
    beside = {name for array in chosen for name in str(array.attributes.get("coordinates", "")).split()}
    found = {}
    for array in arrays:
        name = array.name.rsplit("/", 1)[-1]
        of_axis = name in axes and len(array.shape) == 1
        if not (of_axis or name in beside) or not set(array.dims) <= axes | {name}:
            continue
        if array.problem or array.dtype.kind not in "fiub" or not 0 < math.prod(array.shape) <= _LARGEST:
            continue
        if array.look():
            continue
        values = array.fetch(tuple(slice(0, size) for size in array.shape))
        found[name] = Coordinate(array.dims or (name,), values, array.attributes)
    return found
