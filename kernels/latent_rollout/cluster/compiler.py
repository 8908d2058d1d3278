"""cuda/rollout.cu to a cubin by NVRTC, kept in the user's cache directory. Needs no GPU.

NVRTC is reached through ``cuda.bindings``, which the ``gpu`` extra of the install brings; nothing else needs it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from kernels.latent_rollout.cluster.variant import Variant

SOURCES = Path(__file__).parent / "cuda"
MAIN = "rollout.cu"
NEEDS = "the cluster kernel needs cuda-bindings and NVRTC: install fastsep's extra gpu"


class ClusterError(RuntimeError):
    """The cluster kernel cannot be had here; the message says why in one line."""


def checked(result: tuple):
    """The value of a call of cuda.bindings, which returns (error, value...).

    Raises:
        ClusterError: the call failed.
    """
    error, *values = result
    if int(error):
        raise ClusterError(f"the cluster kernel: {type(error).__name__} {getattr(error, 'name', error)}")
    return values[0] if len(values) == 1 else values


def bindings():
    """The modules ``driver`` and ``nvrtc`` of cuda.bindings.

    Raises:
        ClusterError: they are not installed.
    """
    try:
        from cuda.bindings import driver, nvrtc
    except ImportError as error:
        raise ClusterError(f"{NEEDS} ({error})") from error
    return driver, nvrtc


def cache_directory() -> Path:
    """Where cubins are kept: below ``XDG_CACHE_HOME``, else ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastsep" / "latent_rollout"


def sources() -> dict[str, str]:
    """The kernel's files by name."""
    return {path.name: path.read_text() for path in sorted(SOURCES.iterdir()) if path.suffix in (".cu", ".h")}


def nvrtc_version() -> tuple[int, int]:
    """Major and minor.

    Raises:
        ClusterError: there is no NVRTC.
    """
    _, nvrtc = bindings()
    try:
        return tuple(checked(nvrtc.nvrtcVersion()))
    except RuntimeError as error:  # the library itself is missing
        raise ClusterError(f"{NEEDS} ({str(error).splitlines()[0]})") from error


def compile_variant(variant: Variant, architecture: str) -> bytes:
    """The cubin, by NVRTC: about a second.

    Args:
        architecture: as ``sm_90``.

    Raises:
        ClusterError: no NVRTC, or one that cannot compile this.
    """
    nvrtc_version()
    _, nvrtc = bindings()
    files = sources()
    names = [name for name in files if name != MAIN]
    headers = [files[name].encode() for name in names]
    program = checked(
        nvrtc.nvrtcCreateProgram(files[MAIN].encode(), MAIN.encode(), len(names), headers, [n.encode() for n in names])
    )
    options = [f"--gpu-architecture={architecture}", "--std=c++17", *(f"-D{k}={v}" for k, v in variant.macros.items())]
    (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    if int(error):
        log = b" " * checked(nvrtc.nvrtcGetProgramLogSize(program))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise ClusterError(f"the cluster kernel does not compile for {architecture}: {log.decode()}")
    cubin = b" " * checked(nvrtc.nvrtcGetCUBINSize(program))
    checked(nvrtc.nvrtcGetCUBIN(program, cubin))
    nvrtc.nvrtcDestroyProgram(program)
    return cubin


def cubin_path(variant: Variant, architecture: str) -> Path:
    """Where a variant's cubin is kept: a name for every source, compiler, target and shape."""
    parts = [*sources().items(), nvrtc_version(), architecture, sorted(variant.macros.items())]
    return cache_directory() / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.cubin"


def cubin_for(variant: Variant, architecture: str) -> bytes:
    """The cubin, from the cache or into it. A cache that cannot be read or written is done without."""
    path = cubin_path(variant, architecture)
    try:
        return path.read_bytes()
    except OSError:
        cubin = compile_variant(variant, architecture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(cubin)
        os.replace(file.name, path)  # whole or not at all
    except OSError:
        pass
    return cubin
