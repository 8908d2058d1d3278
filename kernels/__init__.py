"""GPU and CPU kernels. Each folder is one operation; nothing here imports ``fastsep``."""

import functools
import os

import torch
from torch import Tensor

_SETTINGS = ("auto", "torch", "triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Triton's interpreter runs the kernels, on a CPU."""


def setting() -> str:
    """What ``FASTSEP_KERNELS`` says: auto, torch or triton. Raises ValueError for anything else."""
    value = os.environ.get("FASTSEP_KERNELS", "auto")
    if value not in _SETTINGS:
        raise ValueError(f"FASTSEP_KERNELS is {value!r}: set it to one of {', '.join(_SETTINGS)}")
    return value


def available() -> bool:
    """Whether Triton kernels are wanted, and Triton is there."""
    return setting() != "torch" and has_triton()


def has_triton() -> bool:
    """Whether Triton can be imported. The compiler looks into it: ops may ask within a graph."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def require_gpu(tensor: Tensor, what: str) -> None:
    """Raise ValueError where no Triton kernel can run on ``tensor``; ``what`` is the way that was asked for."""
    if tensor.device.type == "cpu" and not INTERPRETED:
        raise ValueError(f"{what} needs a GPU, or TRITON_INTERPRET=1 set before the program starts")


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """Of a GPU; a CPU is taken to have one."""
    return 1 if device.type == "cpu" else torch.cuda.get_device_properties(device).multi_processor_count
