"""Arrays of Zarr stores (version 2 and 3) in a folder, read by the zarr package.

A chunk that is absent stands for the array's fill value, and an interrupted copy looks the same. Where that value means
"missing" (NaN, or what ``_FillValue`` names) absent chunks are missing values; where it is a number like any other the
array is refused, for nobody can tell whether those numbers were meant. Codecs that can run code are not used.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastsep.data.formats.listing import natural_key
from fastsep.data.formats.optional import optional
from fastsep.data.formats.reading import reading
from fastsep.data.frames.array import REMEDY, Array, Contents, Index
from fastsep.data.residency import require_memory

MARKS = ("zarr.json", ".zarray", ".zgroup", ".zmetadata")
"""Files of which a store's folder has one."""
_WHAT = "Zarr store"
_DEEPEST = 16  # groups within groups
_HARMLESS = {
    "bytes", "endian", "transpose", "sharding_indexed", "adler32", "astype", "bitround", "blosc", "bz2", "crc32",
    "crc32c", "delta", "fixedscaleoffset", "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits", "pcodec",
    "quantize", "shuffle", "zfpy", "zlib", "zstd",
}  # fmt: skip


def open_zarr(path: Path) -> Contents:
    """The arrays of a store by their path within it; "" is that of a store which is one array.

    Raises:
        UserError: it is damaged, or the zarr package is not installed.
    """
    with reading(path, _WHAT, REMEDY, folder=True):
        zarr = optional("zarr", "a Zarr store", "zarr")
        arrays = tuple(_array(zarr, path, folder) for folder in _find(path, _DEEPEST))
        if not arrays:
            raise ValueError("it holds no array")
        return Contents(path, _WHAT, arrays)


def _find(folder: Path, depth: int) -> Iterator[Path]:
    """Folders of arrays; their chunks are not looked at."""
    if (folder / ".zarray").is_file() or _json(folder / "zarr.json").get("node_type") == "array":
        yield folder
    elif depth:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
        for name in sorted(names, key=natural_key):
            yield from _find(folder / name, depth - 1)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no settings")
    return found


def _array(zarr: Any, path: Path, folder: Path) -> Array:
    name = "" if folder == path else folder.relative_to(path).as_posix()
    settings = _json(folder / ".zarray")
    version = 2 if settings else 3
    settings = settings or _json(folder / "zarr.json")
    given = _json(folder / ".zattrs") if version == 2 else settings.get("attributes") or {}
    attributes = {key: plain for key, value in given.items() if (plain := _plain(value)) is not None}
    dims = given.get("_ARRAY_DIMENSIONS") if version == 2 else settings.get("dimension_names")
    dims = tuple(dims) if isinstance(dims, list) and all(isinstance(dim, str) for dim in dims) else ()
    harmful = sorted(set(_codecs(settings)) - _HARMLESS)
    if harmful:
        return Array(name, (), np.dtype("V1"), problem=f"is packed by '{harmful[0]}', which is not read: write numbers")
    try:
        stored = zarr.open_array(folder, mode="r", zarr_format=version)
        shape, dtype = tuple(stored.shape), np.dtype(stored.dtype)
    except ImportError as error:
        return Array(name, (), np.dtype("V1"), problem=f"cannot be unpacked: {error}")
    if len(dims) != len(shape):
        dims = ()
    if version == 2 and dims and settings.get("fill_value") not in (None, 0) and dtype.kind in "fiu":
        attributes.setdefault("_FillValue", np.asarray(stored.fill_value))  # so xarray writes it
    if isinstance(attributes.get("_FillValue"), str) and dtype.kind == "f":  # and so in version 3
        attributes["_FillValue"] = np.array(struct.unpack("<d", base64.b64decode(attributes["_FillValue"])))
    array = Array(name, shape, dtype, None, dims, tuple(stored.chunks), attributes)
    if dtype.kind not in "fiub" or 0 in shape:
        return array
    reader = _Reader(path, folder, stored, array)
    return replace(array, fetch=reader.fetch, look=reader.look)


def _codecs(settings: Any) -> Iterator[str]:
    """Names of all codecs of an array, those within shards too."""
    codecs = [settings.get("compressor"), *(settings.get("filters") or []), *(settings.get("codecs") or []),
              *(settings.get("index_codecs") or [])]  # fmt: skip
    for codec in codecs:
        if codec is not None:
            yield str(codec.get("id", codec.get("name"))).removeprefix("numcodecs.")
            yield from _codecs(codec.get("configuration") or {})
    for transformer in settings.get("storage_transformers") or []:
        yield str(transformer)


def _plain(value: Any) -> Any:
    """An attribute as text or numbers; None of other kinds."""
    if isinstance(value, str):
        return value
    with suppress(ValueError, OverflowError):
        array = np.asarray(value)
        return array if array.dtype.kind in "fiub" and array.size else None
    return None


class _Reader:
    def __init__(self, store: Path, folder: Path, stored: Any, array: Array):
        self._store, self._folder, self._stored, self._array = store, folder, stored, array
        self._files = tuple(stored.shards or stored.chunks)  # what of each axis lies in a file
        self._sparse = False

    def look(self) -> str:
        """What to say of chunks that are not there, or too large. Raises UserError."""
        with reading(self._store, _WHAT, REMEDY, folder=True):
            size = math.prod(self._files) * self._array.dtype.itemsize
            require_memory(size, f"a chunk of {self._folder}", "write smaller ones")
            self._sparse = self._absent_is_missing()
            written = {Path(place, name).relative_to(self._folder).as_posix()
                       for place, _, names in os.walk(self._folder) for name in names}  # fmt: skip
            grid = [range(-(-size // step)) for size, step in zip(self._array.shape, self._files, strict=True)]
            keys = map(self._key, itertools.product(*grid))
            absent = next((key for key in keys if key not in written), None)  # soon, where there are few of many
        if absent is None or (self._sparse and written - {*MARKS, ".zattrs"}):
            return ""
        fill = self._stored.fill_value
        return (
            f"lacks chunk {absent} and reads as {'undefined numbers' if fill is None else fill} there: copy it again, "
            "or, if it was left out as empty, write it with config={'write_empty_chunks': True}"
        )

    def fetch(self, index: Index) -> np.ndarray:
        values = np.asarray(self._stored[index])
        if not self._sparse:  # zarr reads what has gone as fill values
            steps = zip(index, self._files, strict=True)
            for place in itertools.product(*(range(p.start // n, -(-p.stop // n)) for p, n in steps)):
                if not (self._folder / self._key(place)).is_file():
                    raise ValueError(f"chunk {self._key(place)} went away")
        return values

    def _key(self, place: tuple[int, ...]) -> str:
        return self._stored.metadata.encode_chunk_key(place)

    def _absent_is_missing(self) -> bool:
        fill = self._stored.fill_value
        if fill is None:
            return False
        with suppress(ValueError):
            return bool(np.isnan(self._array.packing.unpack(np.asarray(fill, self._array.dtype).reshape(1))).all())
        return False
