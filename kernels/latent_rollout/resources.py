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


def compile_only(problem: Problem, config: Streaming | Stationary, architecture: int) -> Resources:
    """Compile one kernel for ``architecture`` (80, 90) and read its needs off the binary."""
    kernel = streaming_kernel if isinstance(config, Streaming) else stationary_kernel
    constants, options = launch.constants(problem, config)
    operand = "*" + _TYPES[problem.dtype]
    signature = dict.fromkeys(kernel.arg_names, operand)
    signature |= dict.fromkeys(("start", "states", "shift"), "*fp32")
    signature |= dict.fromkeys(("partials", "arrived"), "*i32")
    signature |= dict.fromkeys(("batch", "transitions", "blocks"), "i32")
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
        loop=loop_traffic(ptx, WARP * config.warps),
    )


def shipped(architecture: int) -> Iterator[tuple[Problem, Streaming | Stationary]]:
    """Every kind of problem the table in configs.py answers, with its answer, at a batch of 128."""
    for dtype in _TYPES:
        for width, latent, blocks in _MODELS:
            for adjoint in (False, True):
                problem = Problem(128, latent, width, blocks, dtype, adjoint, 132, SHARED_LIMIT[architecture])
                answers = {configs.choose(problem, kind) for kind in ("streaming", "stationary")}
                yield from ((problem, config) for config in sorted(answers, key=repr) if config is not None)


def row(problem: Problem, config: Streaming | Stationary, architecture: int, found: Resources) -> str:
    """One line of the table."""
    held = isinstance(config, Stationary) and ("held" if configs.holds_weights(config, problem) else "read again")
    cells = (
        f"sm_{architecture}",
        type(config).__name__.lower(),
        "adjoint" if problem.adjoint else "forward",
        _TYPES[problem.dtype],
        problem.width,
        problem.latent,
        problem.blocks,
        held or "-",
        found.registers,
        found.spilled,
        f"{found.shared / 1024:.0f}",
        found.tensor_core,
        found.loop.conflicts if isinstance(config, Stationary) else "-",
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
        for problem, config in shipped(architecture):
            lines.append(row(problem, config, architecture, compile_only(problem, config, architecture)))
            print(lines[-1], flush=True)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
