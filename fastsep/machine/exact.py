"""Products in float32 as they are, whatever the program around asks of PyTorch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_restore: Callable[[], None]


@contextmanager
def exact_products() -> Iterator[None]:
    """Within, float32 products are rounded neither to TF32 nor to bf16. PyTorch's settings hold for all threads: the
    first that comes in changes them, the last that leaves puts them back."""
    global _inside, _restore
    with _lock:
        if _inside == 0:
            _restore = _make_exact()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore()


def _make_exact() -> Callable[[], None]:
    """Change PyTorch's settings; returns what puts them back."""
    try:
        precision, allowed = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # set in the newer way, which goes with no other
        return _make_backends_exact()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False

    def restore() -> None:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = allowed

    return restore


def _make_backends_exact() -> Callable[[], None]:
    cuda, mkldnn = torch.backends.cuda.matmul, torch.backends.mkldnn
    before = [(part, part.fp32_precision) for part in (cuda, torch.backends.cudnn.conv, mkldnn.matmul, mkldnn.conv)]
    for part, _ in before:
        part.fp32_precision = "ieee"

    def restore() -> None:
        for part, precision in before:
            part.fp32_precision = precision

    return restore
