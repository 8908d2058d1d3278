"""GPU and CPU kernels. Each folder is one operation; nothing here imports ``fastsep``."""

import os

_SETTINGS = ("auto", "torch", "triton")


def setting() -> str:
    """What ``FASTSEP_KERNELS`` says: auto, torch or triton. Raises ValueError for anything else."""
    value = os.environ.get("FASTSEP_KERNELS", "auto")
    if value not in _SETTINGS:
        raise ValueError(f"FASTSEP_KERNELS is {value!r}: set it to one of {', '.join(_SETTINGS)}")
    return value
