"""GPU and CPU kernels. Each folder is one operation; nothing here imports ``fastsep``."""

import os

_SETTINGS = ("auto", "torch", "triton")


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
