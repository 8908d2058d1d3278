"""cuda/rollout.cu to a cubin by NVRTC, kept in the user's cache directory. Needs no GPU.

NVRTC is reached through ``cuda.bindings``, which the ``gpu`` extra of the install brings; nothing else needs it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from kernels.cache_directory import cache_directory
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
        raise ClusterError(f"{NEEDS} ({' '.join(str(error).splitlines()[:1])})") from error


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


def cubin_path(variant: Variant, architecture: str) -> Path | None:
    """Where a variant's cubin is kept: a name for every source, compiler, target and shape. None: nowhere."""
    directory = cache_directory()
    parts = [*sources().items(), nvrtc_version(), architecture, sorted(variant.macros.items())]
    name = f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.cubin"
    return directory and directory / "latent_rollout" / name


def cubin_for(variant: Variant, architecture: str, again: bool = False) -> bytes:
    """The cubin, from the cache or into it. A cache that cannot be read or written is done without.

    Args:
        again: what the cache holds is damaged; compile, and replace it.
    """
    path = cubin_path(variant, architecture)
    if path is None:
        return compile_variant(variant, architecture)
    try:
        if not again:
            return path.read_bytes()
    except OSError:
        pass
    cubin = compile_variant(variant, architecture)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(cubin)
            os.replace(part, path)  # whole or not at all
        except OSError:
            os.unlink(part)
    return cubin
