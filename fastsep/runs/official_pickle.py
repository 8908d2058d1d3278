"""Read the tensors of a pickled ``nn.Module`` without running anything that the file asks for.

``torch.save(module)`` writes a pickle, and a pickle is a program. Here it may name only what such a file needs: every
class becomes an inert stand-in that keeps its state, and tensors are rebuilt by the functions below. Any other name is
refused. Both formats are read: the zip archive (PyTorch 1.6 on) and the older plain stream.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastsep.data.formats.reading import reading
from fastsep.errors import UserError

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MOST_MODULES = 10_000


class StoredModule(NamedTuple):
    """What a pickled module holds, in registration order: (name, tensor) pairs."""

    parameters: list[tuple[str, Tensor]]
    buffers: list[tuple[str, Tensor]]


class Inert:
    """Stands for an object of any class: takes whatever arguments and state, does nothing with them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_module(path: Path) -> StoredModule:
    """Parameters and buffers of the module that ``torch.save`` wrote to ``path``.

    Raises:
        UserError: the file is missing, damaged, no module, or names something that a module does not need.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: give the run directory of the authors' code, or another --epoch")
    with reading(path, "network of the authors' code", "save it again"):
        data = path.read_bytes()
        root = _read_zip(path, data) if data[:2] == b"PK" else _read_legacy(path, data)
        parameters, buffers = [], []
        for prefix, module in _walk(root, ""):
            parameters += [(prefix + name, t) for name, t in module["_parameters"].items() if t is not None]
            buffers += [(prefix + name, t) for name, t in module["_buffers"].items() if t is not None]
        if not all(isinstance(tensor, Tensor) for _, tensor in parameters + buffers):
            raise TypeError("a parameter is no tensor")
        return StoredModule(parameters, buffers)


def _walk(module: Inert, prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """The module's state and its children's, depth first as ``nn.Module.parameters`` goes."""
    if not isinstance(module, Inert):
        raise TypeError("the file's object is no network")
    found = [(prefix, module.state)]
    for name, child in module.state["_modules"].items():
        if child is not None:
            found += _walk(child, f"{prefix}{name}.")
        if len(found) > _MOST_MODULES:  # each may be a child of several
            raise ValueError("it has more modules than any network")
    return found


class _Unpickler(pickle._Unpickler):
    """Resolves names against an allow-list and storages through ``storage``, a function of (dtype, key, numel).

    It is Python's own in Python: the one in C takes as much memory as a damaged file may ask for.
    """

    def __init__(self, path: Path, stream: io.BytesIO, storage: Any) -> None:
        super().__init__(stream)
        self._path = path
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch._utils":
            rebuild = {"_rebuild_tensor_v2": _rebuild_tensor, "_rebuild_parameter": _rebuild_parameter}
            if name in rebuild:
                return _Function(rebuild[name])
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        inert = (
            module.startswith(("torch.nn.modules.", "var_sep.networks."))
            or (module in ("builtins", "__builtin__") and name == "set")
            # Sizes that NumPy computed were stored as NumPy scalars; nothing here reads them.
            or (module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "scalar")
            or (module, name) in (("numpy", "dtype"), ("_codecs", "encode"))
        )
        if inert and "." not in name:
            return type(name, (Inert,), {})
        raise UserError(
            f"{self._path} asks for {module}.{name}, which no network of the authors' code needs: it was not loaded. "
            "Import only files that their training wrote"
        )

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # the older format wraps classes, together with their source
            return pid[1]
        kind, dtype, key, _, numel, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(view):
            raise pickle.UnpicklingError(f"unknown persistent object {kind}")
        return self._storage(dtype, key, numel)


class _Function:
    """A function whose attributes a pickle cannot reach to change."""

    __slots__ = ("_call",)

    def __init__(self, call: Any) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("a pickle may not change functions")


def _rebuild_tensor(flat: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A view into a flat storage; bounds are checked, nothing is resized."""
    end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if math.prod(size) else offset
    if offset < 0 or min(stride, default=0) < 0 or end > flat.numel():
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    return flat.as_strided(size, stride, offset)


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _read_zip(path: Path, data: bytes) -> Any:
    """The object in a zip archive: ``NAME/data.pkl`` and one entry a storage, ``NAME/data/KEY``."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(part.compress_type for part in archive.infolist()):
            raise ValueError("PyTorch writes no compressed archives")
        (entry,) = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        folder = entry.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise UserError(f"{path} was written on a big-endian machine: save it again on a little-endian one")
        storages: dict[str, Tensor] = {}

        def storage(dtype: torch.dtype, key: str, numel: int) -> Tensor:
            if key not in storages:
                raw = bytearray(archive.read(f"{folder}data/{key}"))
                storages[key] = torch.frombuffer(raw, dtype=dtype, count=numel) if numel else torch.empty(0).to(dtype)
            return storages[key]

        return _Unpickler(path, io.BytesIO(archive.read(entry)), storage).load()


def _read_legacy(path: Path, data: bytes) -> Any:
    """The object in a plain stream: magic, protocol, system, the object, the storages' keys, the storages in turn."""
    stream = io.BytesIO(data)
    storages: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, numel: int) -> Tensor:
        if key not in storages:
            if not 0 <= numel * dtype.itemsize <= len(data):
                raise pickle.UnpicklingError("a storage is larger than the file")
            storages[key] = torch.empty(numel, dtype=dtype)
        return storages[key]

    def load() -> Any:
        return _Unpickler(path, stream, storage).load()

    if load() != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL or not load()["little_endian"]:
        raise pickle.UnpicklingError("no file of torch.save")
    root = load()
    for key in load():
        flat = storages[key]
        numel = int.from_bytes(stream.read(8), "little")
        raw = bytearray(stream.read(numel * flat.dtype.itemsize))
        if numel != flat.numel():
            raise pickle.UnpicklingError("a storage has another size than its tensors")
        if numel:
            flat.copy_(torch.frombuffer(raw, dtype=flat.dtype, count=numel))
    return root
