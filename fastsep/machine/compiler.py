"""Whether this machine has the compiler that ``torch.compile`` calls."""

from __future__ import annotations

import os
import shutil

import torch

from fastsep.errors import UserError


def has_compiler(device: torch.device) -> bool:
    """On a CPU a C++ compiler (``$CXX``, else g++); on a GPU a C compiler (``$CC``, else gcc or clang), for Triton."""
    names = [os.environ.get("CXX") or "g++"] if device.type == "cpu" else [os.environ.get("CC") or "gcc", "clang", "cc"]
    return any(shutil.which(name.split()[0]) for name in names if name.split())


def check_compiler(device: torch.device) -> None:
    """Raise UserError where there is none."""
    if not has_compiler(device):
        name = "C++ compiler (g++, or the one that CXX names)" if device.type == "cpu" else "C compiler (gcc or clang)"
        raise UserError(f"torch.compile needs a {name} and there is none: install one, or use --compile off")


def is_compiler_problem(error: BaseException) -> bool:
    """Whether ``torch.compile`` found a compiler and failed with it."""
    return type(error).__module__.startswith(("torch._inductor", "torch._dynamo", "triton.compiler"))
