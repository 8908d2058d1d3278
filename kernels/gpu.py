"""Where Triton kernels can run."""

from __future__ import annotations

import functools
import os

import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Triton's interpreter runs the kernels, on a CPU."""


def require_gpu(tensor: Tensor, what: str) -> None:
    """Raise ValueError where no Triton kernel can run on ``tensor``; ``what`` is the way that was asked for."""
    if tensor.device.type == "cpu" and not INTERPRETED:
        raise ValueError(f"{what} needs a GPU, or TRITON_INTERPRET=1 set before the program starts")


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """Of a GPU; a CPU is taken to have one."""
    return 1 if device.type == "cpu" else torch.cuda.get_device_properties(device).multi_processor_count
