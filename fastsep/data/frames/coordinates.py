"""What a file says about where and when its frames are, kept so that a forecast can say it, too."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastsep.data.frames.array import Array
from fastsep.data.frames.source import Coordinate

_LARGEST = 1 << 24  # elements


def read_coordinates(
    arrays: Sequence[Array], chosen: Sequence[Array], only: str | None = None
) -> dict[str, Coordinate]:
    """Those of ``arrays`` that are named as an axis of the chosen ones, or by their attribute ``coordinates``.

    Of several with one name the one in the chosen arrays' own group holds, else in the nearest group around it; of
    others, of which none is nearer, none.

    Args:
        only: read what has this name, by default all.

    Raises:
        ValueError: one of them is damaged.
    """
    axes = {name for array in chosen for name in array.dims}
    beside = {name for array in chosen for name in str(array.attributes.get("coordinates", "")).split()}
    groups = [array.name.rpartition("/")[0] for array in chosen]
    found: dict[str, Coordinate] = {}
    nearness: dict[str, int] = {}
    for array in arrays:
        group, _, name = array.name.rpartition("/")
        of_axis = name in axes and len(array.shape) == 1
        if only not in (None, name) or not (of_axis or name in beside) or not set(array.dims) <= axes | {name}:
            continue
        if array.problem or array.dtype.kind not in "fiub" or not 0 < math.prod(array.shape) <= _LARGEST:
            continue
        if array.look():
            continue
        near = len(group) if all(f"{own}/".startswith(f"{group}/") or not group for own in groups) else -1
        if name in nearness and near <= nearness[name]:
            if near == nearness[name]:
                found.pop(name, None)
            continue
        nearness[name] = near
        values = array.fetch(tuple(slice(0, size) for size in array.shape))
        dims = array.dims or ((name,) if array.shape else ())
        if len(dims) == len(array.shape):
            found[name] = Coordinate(dims, values, array.attributes)
    return found
