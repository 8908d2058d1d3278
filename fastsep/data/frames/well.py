"""The layout of The Well (Ohana et al., NeurIPS 2024): fields of a simulation in HDF5, by the rank of their tensors.

``t0_fields`` holds scalars (N, T, x, y), ``t1_fields`` vectors and ``t2_fields`` matrices with an axis or two more for
their components. A field may lack axes along which it does not vary. ``dimensions`` names and places the axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Array, Contents, Index
from fastsep.errors import UserError

_RANKS = ("t0_fields", "t1_fields", "t2_fields")


def is_well(contents: Contents) -> bool:
    """Whether an HDF5 file is laid out so."""
    groups = contents.group_attributes
    return "dimensions" in groups and any(rank in groups for rank in _RANKS)


def arrange_well(contents: Contents) -> Contents:
    """The fields that vary in time, all of them channels: scalars first, then the components of the others.

    Raises:
        UserError: space has three dimensions, or a field is not laid out as it should be.
    """
    with reading(contents.path, contents.what, REMEDY):
        return _arrange(contents)


def _arrange(contents: Contents) -> Contents:
    space = contents.group_attributes["dimensions"].get("spatial_dims", ["x", "y"])
    space = [space] if isinstance(space, str) else [str(name) for name in space]
    if len(space) > 2:
        raise UserError(
            f"{contents.path} has {len(space)} dimensions of space ({', '.join(space)}), frames have two: "
            "give two-dimensional data, or slices of these"
        )
    sizes = {array.name: array.shape for array in contents.arrays}
    lengths = [(sizes.get(f"dimensions/{name}") or (0,))[-1] for name in space]
    sequences = _number(contents.group_attributes.get("/", {}), "n_trajectories")
    fields = []
    for rank, group in enumerate(_RANKS):
        names = contents.group_attributes.get(group, {}).get("field_names")
        names = [names] if isinstance(names, str) else names
        there = {array.name: array for array in contents.arrays if array.name.startswith(f"{group}/")}
        order = [f"{group}/{name}" for name in names] if names else list(there)
        for name in order:
            if name not in there:
                raise UserError(f"{contents.path} holds no array '{name}', which its own list names: fetch it again")
            if _flag(there[name].attributes, "time_varying"):
                fields.append(_field(contents, there[name], rank, space, lengths, sequences))
    if not fields:
        raise UserError(f"{contents.path} holds no field that varies in time: give other data")
    return replace(contents, arrays=(*fields, *(a for a in contents.arrays if a.name.startswith("dimensions/"))),
                   several=True)  # fmt: skip


def _field(contents: Contents, array: Array, rank: int, space: list[str], lengths: list[int], sequences: int) -> Array:
    attributes, dims = array.attributes, len(space)
    along = np.resize(np.asarray(attributes.get("dim_varying", True)).reshape(-1).astype(bool), dims)
    varying = [_flag(attributes, "sample_varying"), True, *map(bool, along)]
    # Axes of space along which nothing varies are there with one element, or not at all.
    kept = len(array.shape) == varying[0] + 1 + dims + rank
    there = [varies or (kept and axis > 1) for axis, varies in enumerate(varying)]
    full = [sequences, array.shape[varying[0]] if array.shape else 0, *lengths]  # (N, T, *space)
    components = (dims,) * rank
    stored = [size if varies else 1 for size, varies, has in zip(full, varying, there, strict=True) if has]
    if varying[0]:
        full[0] = stored[0] = array.shape[0]
    if (*stored, *components) != array.shape or 0 in full:
        raise UserError(f"{contents.path}: {array} is not laid out as a field of {_RANKS[rank]}: fetch it again")
    name = array.name.split("/", 1)[1]
    channels = tuple(f"{name}_{''.join(axes)}" for axes in itertools.product(space, repeat=rank)) if rank else ()

    def fetch(index: Index) -> np.ndarray:
        wide = [part.stop - part.start for part in index[: 2 + dims]]
        wanted = [part if varies else slice(0, 1) for part, varies in zip(index, varying, strict=False)]
        wanted = [part for part, has in zip(wanted, there, strict=True) if has]
        values = array.fetch((*wanted, *(slice(0, size) for size in components)))
        values = np.expand_dims(values, [axis for axis, has in enumerate(there) if not has])
        values = np.broadcast_to(values, (*wide, *components))
        return values.reshape(*wide, -1) if rank else values

    together = iter(array.chunks or ())
    chunks = [next(together, 1) if has else 1 for has in there]
    return replace(
        array,
        name=name,
        shape=(*full, len(channels)) if rank else tuple(full),
        fetch=fetch,
        dims=("sample", "time", *space, *(("component",) if rank else ())),
        chunks=(*chunks, *((len(channels),) if rank else ())) if array.chunks else None,
        axes="nt" + ("hw" if dims == 2 else "p") + ("c" if rank else ""),
        why=", as The Well lays out its fields",
        channels=channels,
    )


def _flag(attributes: Mapping[str, Any], name: str) -> bool:
    return bool(np.all(attributes.get(name, True)))


def _number(attributes: Mapping[str, Any], name: str) -> int:
    value = np.asarray(attributes.get(name, 0)).reshape(-1)
    return int(value[0]) if value.size and value.dtype.kind in "fiu" else 0
