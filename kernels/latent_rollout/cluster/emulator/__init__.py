"""The cluster kernel's own source, compiled by g++ and run thread by thread on a CPU. README.md beside says what for.

``cluster.forward(t0, blocks, steps, keep=True, rows=16, run=Emulator(seed=1))`` rolls out without a GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from kernels.latent_rollout.cluster.compiler import SOURCES
from kernels.latent_rollout.cluster.driver import POINTERS, Arguments
from kernels.latent_rollout.cluster.variant import PROGRAMS, Variant

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-fPIC", "-fno-strict-aliasing", "-ffp-contract=off", "-fcf-protection=none")
"""A fiber's stack is switched under the compiler's feet, which control-flow protection would mind."""
OUTPUTS = ("states", "out_lift", "out_mix", "marks", "signs_lift", "signs_mix")


class EmulatorError(AssertionError):
    """The emulated kernel raced, hung, or did what a GPU would not forgive."""


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("start", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("output", ctypes.c_uint64),
    )


class Report(ctypes.Structure):
    """Counts of a launch: races, st.async messages, collective operations, most messages under way at once, cycles of
    shared memory, and how few they would be without a bank conflict."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("races", "messages", "collectives", "most_on_the_way", "cycles", "least_cycles")
    )


def compiler() -> str | None:
    """Path of g++, or None."""
    return shutil.which("g++")


def build(variant: Variant, sources: Path = SOURCES) -> Path:
    """The library of one variant, from the folder of the kernel's ``sources``; built once a process and source."""
    files = [*sorted(sources.iterdir()), *sorted(HERE.iterdir())]
    text = "".join(path.read_text() for path in files if path.is_file())
    return _build(tuple(variant.macros.items()), sources, hashlib.sha256(text.encode()).hexdigest())


@cache
def _place() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="fastsep-emulator-")


@cache
def _machine() -> Path:
    """What all variants link."""
    return _compile("-O2", "-c", str(HERE / "machine.cpp"), to="machine.o")


@cache
def _build(macros: tuple[tuple[str, int], ...], sources: Path, digest: str) -> Path:
    name = hashlib.sha256(repr((macros, digest)).encode()).hexdigest()[:16]
    includes = [f"-I{HERE}", f"-I{sources}", *(f"-D{k}={v}" for k, v in macros)]
    # -w: of pragmas that are meant for NVRTC
    return _compile("-O1", "-w", "-shared", *includes, str(HERE / "emulate.cpp"), str(_machine()), to=f"{name}.so")


def _compile(*arguments: str, to: str) -> Path:
    result = Path(_place().name) / to
    subprocess.run([compiler() or "g++", *FLAGS, *arguments, "-o", str(result)], check=True)
    return result


@dataclass
class Emulator:
    """Runs launches in the place of ``driver.launch``.

    Args:
        seed: of the schedule.
        sources: the kernel's folder, or a mutant's.

    Raises (when run):
        EmulatorError: a race, a hang, an access out of bounds or misaligned, a second write, lanes that part in a
            collective operation.
    """

    seed: int = 0
    sources: Path = SOURCES
    reports: list[Report] = field(default_factory=list)

    def __call__(self, variant: Variant, device: int, groups: int, arguments: Arguments) -> None:
        library = ctypes.CDLL(str(build(variant, self.sources)))
        library.emulate.restype = ctypes.c_char_p
        buffers = list(_buffers(variant, groups, arguments))
        report = Report()
        failure = library.emulate(
            ctypes.byref(arguments), (_Buffer * len(buffers))(*buffers), len(buffers), groups, self.seed,
            ctypes.byref(report),
        )  # fmt: skip
        self.reports.append(report)
        if failure:
            raise EmulatorError(failure.decode())


def _buffers(variant: Variant, groups: int, arguments: Arguments):
    """Where the arguments point to, and how far."""
    latent, width, count = variant.latent, variant.width, variant.blocks
    batch, transitions = arguments.batch, arguments.transitions
    hidden, signs = 2 * count * transitions * batch * width, count * transitions * groups * PROGRAMS * 32 * 8
    frames = transitions + 1 if variant.adjoint else 1
    sizes = {
        "start": 4 * frames * batch * latent, "states": 4 * (transitions * count + 1) * batch * latent,
        "w_lift": 2 * count * width * latent, "w_mix": 2 * count * width * width, "w_drop": 2 * count * width * latent,
        "b1": 2 * count * width, "b2": 2 * count * width, "b3": 4 * count * latent,
        "out_lift": hidden, "out_mix": hidden, "signs_lift": signs, "signs_mix": signs,
        "marks": 4 * count * transitions * PROGRAMS * 8 * 10,
    }  # fmt: skip
    outputs = OUTPUTS[:4] if variant.adjoint else OUTPUTS
    for name in POINTERS:
        if start := getattr(arguments, name):
            yield _Buffer(name.encode(), start, sizes[name], name in outputs)
