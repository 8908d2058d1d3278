"""Where to run and in which arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from fastsep import distributed
from fastsep.config import Precision
from fastsep.errors import UserError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one; of several processes on a machine each has its own.

    Raises:
        UserError: a device that this machine lacks, or that several processes would share.
    """
    device = _device(name)
    if device.type == "cuda":
        _require_own(device)
    return device


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"there is no device '{name}': use --device auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device '{name}' is not supported: use --device auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise UserError(f"device '{name}' asked for, but PyTorch sees {count} CUDA devices: use --device cpu")
    return device


def _require_own(device: torch.device) -> None:
    world, count = distributed.current(), torch.cuda.device_count()
    if world.local_rank >= count:
        raise UserError(
            f"{world.local_size} processes were started on a machine with {count} CUDA devices: start {count} there, "
            "or use --device cpu"
        )
    if world.local_size > 1 and device.index not in (None, world.local_rank):
        raise UserError(f"{world.local_size} processes cannot share {device}: use --device cuda, of which each has one")


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of matrix products; ``auto`` takes bf16 only where the hardware computes it natively.

    Raises:
        UserError: fp16 on a CPU, where PyTorch has no fast product for it.
    """
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.get_device_capability(device) >= (8, 0)
            return torch.bfloat16 if native else torch.float16
        return torch.bfloat16 if cpu_has_bf16() else torch.float32
    if precision == "fp16" and device.type == "cpu":
        raise UserError("fp16 products are hundreds of times slower on a CPU: use --precision auto, bf16 or fp32")
    return _DTYPES[precision]


def precision_name(dtype: torch.dtype) -> str:
    """fp32, bf16 or fp16."""
    return next(name for name, value in _DTYPES.items() if value == dtype)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """The autocast region of networks; none for float32 and float64."""
    if dtype in (torch.bfloat16, torch.float16):
        return torch.autocast(device.type, dtype)
    return nullcontext()


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 natively (AMX or AVX512-BF16); elsewhere it is many times slower than fp32."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
