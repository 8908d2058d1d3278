"""Which arrays of a file are the frames, and what their axes mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastsep.data.frames.array import Array, Contents, describe
from fastsep.data.frames.layout import guess_layout, lacks_time, layout_by_names
from fastsep.errors import UserError

_BESIDE = {
    "x", "y", "z", "t", "time", "lat", "lon", "latitude", "longitude", "depth", "level", "lev", "height", "nav_lat",
    "nav_lon", "xlat", "xlong", "crs", "mask",
}  # fmt: skip
"""Names of coordinates, which have at most two axes."""
_ENDINGS = ("_crc32", "_bnds", "_bounds", "_vertices")
_LISTED = 12


def choose(contents: Contents, variables: Sequence[str], layout: str | None) -> list[Array]:
    """The arrays to stack as channels, with their ``axes``.

    Args:
        variables: their names; of none, the one array that can be frames is taken.
        layout: what the axes are, in letters that ``check_layout`` passed; None lets names of axes or sizes tell.

    Raises:
        UserError: there is no such array, or none or several that can be meant; the message lists what is there.
    """
    chosen = [_find(contents, name) for name in variables] or _fitting(contents, layout)
    for array in chosen:
        _check(contents, array)
    if len({array.shape for array in chosen}) > 1 and not contents.several:
        raise UserError(f"{contents.path}: arrays of different shapes cannot be channels together: {_list(chosen)}")
    return [_settle(contents, array, layout) for array in chosen]


def _find(contents: Contents, name: str) -> Array:
    name = name.rsplit("/", 1)[-1] if contents.several else name.strip("/")
    found = [array for array in contents.arrays if array.name == name]
    found = found or [array for array in contents.arrays if array.name.rsplit("/", 1)[-1] == name]
    if len(found) == 1:
        return found[0]
    raise UserError(f"{contents.path} holds no array '{name}': it has {_list(contents.arrays)}")


def _fitting(contents: Contents, layout: str | None) -> list[Array]:
    if contents.several:
        return [array for array in contents.arrays if array.axes]
    arrays = contents.arrays
    if len(arrays) == 1:  # what is wrong with it will be said
        return list(arrays)
    fitting = [array for array in arrays if _fits(contents, array, layout)]
    long = [array for array in fitting if len(array.shape) > 2]
    fitting = long or fitting
    if len(fitting) == 1:
        return fitting
    if fitting:
        raise UserError(
            f"{contents.path} holds several arrays that can be frames, name one or several of equal shape with "
            f"--variable: {_list(fitting)}"
        )
    what = f" to read as {layout}" if layout else ""
    raise UserError(f"{contents.path} holds no array of frames{what}: it has {_list(arrays) or 'nothing'}")


def _fits(contents: Contents, array: Array, layout: str | None) -> bool:
    if array.problem or array.dtype.kind not in "fiub" or 0 in array.shape:
        return False
    name = array.name.rsplit("/", 1)[-1].lower()
    if name.endswith(_ENDINGS) or (len(array.shape) <= 2 and name in _BESIDE):
        return False
    if layout:
        return len(array.shape) == len(layout)
    if lacks_time(array.dims):
        return False
    return _by_names(array) is not None or guess_layout(array.shape, contents.one_sequence) is not None


def _by_names(array: Array) -> str | None:
    return layout_by_names(array.dims) if array.dims else None


def _check(contents: Contents, array: Array) -> None:
    where = f"{contents.path}: '{array.name}'" if array.name else str(contents.path)
    if problem := array.problem or array.look():
        raise UserError(f"{where} {problem}")
    if array.dtype.kind not in "fiub":
        remedy = {
            "O": "these can run code and are never loaded, save an array of numbers",
            "c": "save their real and imaginary parts as two arrays",
        }.get(array.dtype.kind, "give an array of real numbers")
        raise UserError(f"{where} holds {describe(array.dtype)}: {remedy}")
    if 0 in array.shape:
        raise UserError(f"{where} is empty, its shape is {array.shape}: give frames")


def _settle(contents: Contents, array: Array, layout: str | None) -> Array:
    where = f"{contents.path}: {array}"
    if array.axes and layout in (None, array.axes):
        return array
    if layout:
        if len(layout) != len(array.shape):
            raise UserError(f"{where} has {len(array.shape)} axes, --layout {layout} names {len(layout)}")
        return replace(array, axes=layout, why="")
    by_names = _by_names(array)
    if by_names:
        return replace(array, axes=by_names, why=f", as its axes are named {', '.join(array.dims)}")
    guess = guess_layout(array.shape, contents.one_sequence)
    if guess is None:
        raise UserError(
            f"{where}: frames have 2 to 5 axes (sequences, time, channels, height and width or points), "
            f"not {len(array.shape)}: give another array"
        )
    layout, others = guess
    return replace(array, axes=layout, why=f" by its sizes (--layout {' or '.join(others)} if not)" if others else "")


def _list(arrays: Sequence[Array]) -> str:
    names = ", ".join(str(array) for array in arrays[:_LISTED])
    return names + (f" and {len(arrays) - _LISTED} more" if len(arrays) > _LISTED else "")
