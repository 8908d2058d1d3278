"""What every shipped cut needs of a GPU, found by compiling for one that need not be there.

``python -m kernels.latent_rollout.resources`` writes resources.md beside this file.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels.latent_rollout import configs, launch
from kernels.latent_rollout.banks import WARP, Traffic, loop_traffic
from kernels.latent_rollout.configs import Problem, Stationary, Streaming
from kernels.latent_rollout.stationary import stationary_kernel
from kernels.latent_rollout.streaming import streaming_kernel
from kernels.latent_rollout.weight_gradients import products_kernel

SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}
TABLE = Path(__file__).with_name("resources.md")
_TYPES = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
_MODELS = ((512, 20, 1), (512, 32, 3), (512, 64, 1), (512, 64, 4), (1024, 64, 1), (64, 16, 1))  # H, L, blocks
_CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


@dataclass(frozen=True)
class Resources:
    """Registers a thread, bytes of local memory a thread (spills), bytes of shared memory a program, and what the PTX
    holds; ``loop`` is what the loop over block-steps does with shared memory."""

    registers: int
    spilled: int
    shared: int
    tensor_core: int
    float64: bool
    loop: Traffic


@dataclass(frozen=True)
class Cut:
    """A kernel as it is compiled: with ``keep`` the forward kernel leaves the hidden layers. ``config`` is the tile of
    the products where the kernel is that of the weight gradients."""

    problem: Problem
    config: Streaming | Stationary | int
    keep: bool

    @property
    def direction(self) -> str:
        """As in the table."""
        if isinstance(self.config, int):
            return "gradients"
        return "adjoint" if self.problem.adjoint else "forward, keeping" if self.keep else "forward"


def compile_only(cut: Cut, architecture: int) -> Resources:
    """Compile one kernel for ``architecture`` (80, 90) and read its needs off the binary."""
    problem, config = cut.problem, cut.config
    if isinstance(config, int):
        kernel, options = products_kernel, launch.GRADIENT_OPTIONS
        constants = launch.gradient_constants(problem.latent, problem.width, problem.blocks, config)
    else:
        kernel = streaming_kernel if isinstance(config, Streaming) else stationary_kernel
        constants, options = launch.constants(problem, config, cut.keep)
    signature = dict.fromkeys(kernel.arg_names, "*" + _TYPES[problem.dtype])
    signature |= dict.fromkeys(("start", "states", "shift", "latents", "adjoints", "sums"), "*fp32")
    signature |= dict.fromkeys(("partials", "arrived"), "*i32")
    signature |= dict.fromkeys(("batch", "transitions", "blocks", "rows", "share"), "i32")
    signature = {name: kind for name, kind in signature.items() if name in kernel.arg_names}
    signature |= dict.fromkeys(constants, "constexpr")
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(kernel.arg_names) if signature[n][0] == "*"}
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, values, aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [_CUOBJDUMP, "-res-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    read = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    ptx = compiled.asm["ptx"]
    return Resources(
        registers=read["REG"],
        spilled=read["STACK"] + read["LOCAL"],
        shared=compiled.metadata.shared,
        tensor_core=len(re.findall(r"mma\.sync|wgmma\.mma_async", ptx)),
        float64="f64" in ptx,
        loop=loop_traffic(ptx, WARP * options["num_warps"]),
    )


def shipped(architecture: int) -> Iterator[Cut]:
    """Every kind of problem the table in configs.py answers, with its answer, at a batch of 128."""
    for dtype in _TYPES:
        for width, latent, blocks in _MODELS:
            for adjoint in (False, True):
                problem = Problem(128, latent, width, blocks, dtype, adjoint, 132, SHARED_LIMIT[architecture])
                answers = {configs.choose(problem, kind) for kind in ("streaming", "stationary")} - {None}
                for config in sorted(answers, key=repr):
                    yield Cut(problem, config, keep=adjoint)
                    if not adjoint and configs.leaves_hidden(config, problem):
                        yield Cut(problem, config, keep=True)
            if tile := configs.gradient_tile(problem):
                yield Cut(problem, tile, keep=False)


def row(cut: Cut, architecture: int, found: Resources) -> str:
    """One line of the table."""
    problem, config = cut.problem, cut.config
    stationary = isinstance(config, Stationary)
    held = stationary and ("held" if configs.holds_weights(config, problem) else "read again")
    cells = (
        f"sm_{architecture}",
        "products" if isinstance(config, int) else type(config).__name__.lower(),
        cut.direction,
        _TYPES[problem.dtype],
        problem.width,
        problem.latent,
        problem.blocks,
        held or "-",
        found.registers,
        found.spilled,
        f"{found.shared / 1024:.0f}",
        found.tensor_core,
        found.loop.conflicts if stationary else "-",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    """Write the table."""
    lines = [
        "# What the shipped cuts need",
        "",
        f"Written by `python -m kernels.latent_rollout.resources` with Triton {triton.__version__}; not to be edited.",
        "Registers a thread, bytes spilled a thread, KiB of shared memory a program, tensor-core instructions; cycles",
        "that bank conflicts cost a program, all blocks together.",
        "",
        "| target | kernel | direction | operands | H | L | blocks | weights | registers | spilled | shared | mma "
        "| conflicts |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for architecture in SHARED_LIMIT:
        for cut in shipped(architecture):
            lines.append(row(cut, architecture, compile_only(cut, architecture)))
            print(lines[-1], flush=True)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
