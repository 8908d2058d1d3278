"""Where data lie: on the training device if it has room, else in host memory, else in a file mapped into memory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from fastsep import distributed
from fastsep.data.disk_space import readable
from fastsep.data.host_memory import host_free_bytes
from fastsep.errors import UserError
from fastsep.world import World

_SHARE = 0.5  # of the free memory; networks, activations and the optimiser want the rest
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


_kept_out = False
_settled: int | None = None
"""Bytes of the host's memory that each of several processes may take, while they take it one after the other."""


def free_bytes(device: torch.device) -> int:
    """Memory that this process may still take on ``device``, in bytes; those that work together share the host's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = host_free_bytes()
    return free // distributed.current().local_size if _settled is None else min(_settled, free)


@contextmanager
def shared_by(world: World) -> Iterator[None]:
    """Within, every process may take as much of the host's memory as any: what one has taken is not missing to the
    next, so that all decide alike."""
    global _settled
    if world.joined:
        _settled = min(world.gather(free_bytes(torch.device("cpu"))))
    try:
        yield
    finally:
        _settled = None


@contextmanager
def kept_out(on: bool) -> Iterator[None]:
    """Within, frames that can be read while a model trains are, whatever memory is free: as a run did before."""
    global _kept_out
    before, _kept_out = _kept_out, on
    try:
        yield
    finally:
        _kept_out = before


def may_keep(size: int) -> bool:
    """Whether ``size`` bytes of frames that can also be read while a model trains may lie in host memory."""
    return not _kept_out and fits(size, torch.device("cpu"))


def fits(size: int, device: torch.device) -> bool:
    """Whether ``size`` bytes may be put on ``device``."""
    return size <= _SHARE * free_bytes(device)


def require_memory(size: int, what: str, remedy: str, device: torch.device | None = None) -> None:
    """Raise ``UserError`` if ``what`` of ``size`` bytes cannot be held on ``device``, by default in host memory."""
    device = device or torch.device("cpu")
    free = free_bytes(device)
    if size > free:
        where = "memory" if device.type == "cpu" else f"{device}'s memory"
        raise UserError(f"{what} takes {readable(size)} of {where}, {readable(free)} are free: {remedy}")


def host_array(shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
    """An array to fill: in memory if it fits, else mapped from a file in the temporary directory ($TMPDIR).

    The file has no name, so nothing is left behind however the process ends; its space is taken at once, for a disk
    that runs full under a mapped file ends the process.

    Raises:
        UserError: neither memory nor the temporary directory has room.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if fits(size, torch.device("cpu")):
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            _take_space(file.fileno(), size)
            return np.memmap(file, dtype, mode="r+", shape=tuple(shape))
    except OSError as error:
        raise UserError(
            f"{readable(size)} fit neither memory nor the temporary directory {tempfile.gettempdir()} "
            f"({error.strerror}): set TMPDIR to a directory with that much space"
        ) from None


def _take_space(descriptor: int, size: int) -> None:
    """Give a file ``size`` bytes that are there, not only promised."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NOT_SUPPORTED:
            raise
        zeros = bytes(1 << 20)
        for first in range(0, size, len(zeros)):
            os.pwrite(descriptor, zeros[: size - first], first)


def place(frames: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """``frames`` on ``device`` if it has room for them, else where they are (in memory or mapped).

    A mapped file is read into memory if it fits, so that batches are not gathered from disk.
    """
    mapped = isinstance(frames, np.memmap)
    tensor = torch.from_numpy(np.asarray(frames)) if isinstance(frames, np.ndarray) else frames
    if not fits(tensor.nbytes, device):
        return tensor
    return tensor.clone() if mapped and device.type == "cpu" else tensor.to(device)
