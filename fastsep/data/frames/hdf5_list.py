"""What an HDF5 file holds, as plain values that a process can hand to another."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

from fastsep.data.formats.packing import Packing

_INTERNAL = {
    "CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "DIMENSION_LABELS", "_Netcdf4Dimid", "_Netcdf4Coordinates",
    "_nc3_strict",
}  # fmt: skip
_LARGEST = 1 << 16  # bytes of an attribute


def list_file(file: h5py.File) -> dict[str, Any]:
    """``arrays``: of each what ``Array`` wants; ``groups``: their attributes by name; ``netcdf``: who wrote it."""
    arrays, groups = [], {"/": _attributes(file)}

    def visit(name: str | bytes, item: Any) -> None:
        if isinstance(name, bytes):  # not UTF-8: nobody can ask for it
            return
        if isinstance(item, h5py.Dataset):
            arrays.append(_describe(name, item))
        elif isinstance(item, h5py.Group):
            groups[name] = _attributes(item)

    file.visititems(visit)
    netcdf = "_NCProperties" in file.attrs or any(one.pop("scale") for one in list(arrays))
    for one in arrays:
        one.pop("scale", None)
        if not one["problem"]:
            one["problem"] = _unwritten(file[one["name"]], one, netcdf)
    return {"arrays": arrays, "groups": groups, "netcdf": netcdf}


def _describe(name: str, data: h5py.Dataset) -> dict[str, Any]:
    problem, attributes = "", _attributes(data)
    try:
        dtype = data.dtype
    except TypeError:
        dtype, problem = np.dtype("V1"), "holds numbers of a type that NumPy lacks: write it as float32"
    if dtype.kind not in "fiub":  # its kind alone matters, and HDF5's own additions do not travel
        dtype = np.dtype("S1" if h5py.check_string_dtype(dtype) else dtype.str if dtype.kind != "V" else "V1")
    if data.shape is None:
        problem = "is empty: give an array of numbers"
    elif data.is_virtual or data.external:
        problem = "lies in another file: give that file, or copy the array into one (h5repack)"
    scale = data.attrs.get_id("CLASS").shape == () and data.is_scale if "CLASS" in data.attrs else False
    return {
        "name": name, "shape": tuple(data.shape or ()), "dtype": dtype, "chunks": data.chunks,
        "attributes": attributes, "dims": (name.rsplit("/", 1)[-1],) if scale and data.ndim == 1 else _dims(data),
        "problem": problem, "scale": scale,
    }  # fmt: skip


def _dims(data: h5py.Dataset) -> tuple[str, ...]:
    """Names of the axes, if each has one."""
    if "DIMENSION_LIST" not in data.attrs:
        labels = tuple(axis.label for axis in data.dims) if "DIMENSION_LABELS" in data.attrs else ()
        return labels if labels and all(labels) else ()
    names = [next(iter(axis.values())).name if len(axis) else "" for axis in data.dims]
    return tuple(name.rsplit("/", 1)[-1] for name in names) if all(names) else ()


def _attributes(holder: h5py.HLObject) -> dict[str, Any]:
    """Texts as ``str`` or lists of them, numbers as NumPy's; what is neither, too large or damaged is left out."""
    found = {}
    for name in holder.attrs:
        if name in _INTERNAL:
            continue
        with suppress(Exception):  # of a kind that h5py does not read
            if holder.attrs.get_id(name).get_storage_size() <= _LARGEST:
                value = _plain(holder.attrs[name])
                if value is not None:
                    found[name] = value
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str | bytes):
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(value, h5py.Empty):
        return None
    array = np.asarray(value)
    if array.dtype.kind in "SUO":
        texts = [_plain(one) for one in array.reshape(-1).tolist()]
        if not all(isinstance(text, str) for text in texts):
            return None
        return texts[0] if len(texts) == 1 and array.ndim == 0 else texts
    return array if array.dtype.kind in "fiub" else None


def _unwritten(data: h5py.Dataset, one: dict[str, Any], netcdf: bool) -> str:
    """What to say if a part was never written, and would be read as numbers that nobody computed."""
    if 0 in data.shape or one["dtype"].kind not in "fiub":
        return ""
    if not data.chunks:
        written, size = data.id.get_storage_size(), math.prod(data.shape) * data.dtype.itemsize
        return "" if written >= size else f"has {written} of its {size} bytes: let its writer finish, or run it again"
    expected = math.prod(-(-size // chunk) for size, chunk in zip(data.shape, data.chunks, strict=True))
    written = data.id.get_num_chunks()
    if written >= expected:
        return ""
    with suppress(ValueError):
        fill = np.asarray(data.fillvalue).astype(one["dtype"]).reshape(1)
        if np.isnan(Packing.of(one["attributes"], one["dtype"], netcdf).unpack(fill)).all():
            return ""
    return (
        f"has {written} of its {expected} chunks, the others were never written: let its writer finish, or run it again"
    )
