"""Triton kernels compiled for a GPU that need not be there, and what must hold of every one."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest


def compile_kernel(
    kernel: Any, arch: int, types: Mapping[str, str], constants: Mapping[str, Any], warps: int, folder: Path
) -> str:
    """PTX of ``kernel`` for compute capability ``arch`` / 10, whose binary must neither spill nor know float64.

    ``types`` are of the arguments that are no ``constants``; all are multiples of 16. Skips where Triton is not there.
    """
    triton = pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("compiling needs Triton without its interpreter")
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types[name] for name in names}
    values = {(names.index(name),): value for name, value in constants.items()}
    aligned = {(k,): [["tt.divisibility", 16]] for k, name in enumerate(names) if name not in constants}
    source = triton.compiler.ASTSource(kernel, signature, values, aligned)
    target = triton.backends.compiler.GPUTarget("cuda", arch, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": warps})
    assert "f64" not in compiled.asm["ptx"]
    (folder / "k.cubin").write_bytes(compiled.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    usage = subprocess.run([tool, "-res-usage", folder / "k.cubin"], capture_output=True, text=True).stdout
    print(kernel.__name__, arch, re.findall(r"(?:REG|STACK|LOCAL):\d+", usage), compiled.metadata.shared)
    assert "STACK:0" in usage, usage
    return compiled.asm["ptx"]
