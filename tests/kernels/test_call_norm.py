"""Batch norm per call: the definitions against PyTorch's layer, Triton kernels under the interpreter and compiled."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kernels.call_norm import call_norm

INTERPRETED = Path(__file__).parent / "interpreted_call_norm.py"
PLAIN = ("call by call", "native", "grouped")


def inputs(calls: int, batch: int, channels: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """x, weight, bias; running mean and variance."""
    x = torch.randn(calls * batch, channels, 3, 2, dtype=torch.float64) * 2 + 1
    weight, bias, mean, var = (torch.rand(channels, dtype=torch.float64) + 0.5 for _ in range(4))
    return [t.requires_grad_() for t in (x, weight, bias)], [mean, var]


def native(
    tensors: list[torch.Tensor], running: list[torch.Tensor], calls: int, slope: float, momentum: float
) -> torch.Tensor:
    """PyTorch's norm, one call after another."""
    x, weight, bias = tensors
    parts = [F.batch_norm(part, *running, weight, bias, True, momentum) for part in x.chunk(calls)]
    return F.leaky_relu(torch.cat(parts), slope)


@pytest.mark.parametrize("backend", PLAIN)
@pytest.mark.parametrize("slope", [0.2, 0.0, 1.0])
@pytest.mark.parametrize(("calls", "batch", "channels"), [(1, 1, 1), (3, 5, 7)])
def test_definitions_are_native_batch_norms_in_order(
    calls: int, batch: int, channels: int, slope: float, backend: str
) -> None:
    tensors, running = inputs(calls, batch, channels)
    expected_running = [t.clone() for t in running]
    y = call_norm(*tensors, *running, calls, slope=slope, momentum=0.3, backend=backend)
    expected = native(tensors, expected_running, calls, slope, 0.3)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(running, expected_running, rtol=1e-13, atol=0)
    grad = torch.randn_like(y)
    found, wanted = (torch.autograd.grad(result, tensors, grad) for result in (y, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", PLAIN)
def test_left_out_bias_moves_the_running_mean_alone(backend: str) -> None:
    calls, conv_bias = 3, torch.randn(7, dtype=torch.float64, requires_grad=True)
    tensors, running = inputs(calls, 5, 7)
    x, *rest = tensors
    settings, grad = {"slope": 0.2, "backend": backend}, torch.randn_like(x)
    results = []
    # Twice in a row before the gradient, as an integrator does.
    for images, left_out in ((x + conv_bias.detach()[:, None, None], None), (x, conv_bias)):
        moved = [t.clone() for t in running]
        y, _ = (call_norm(images, *rest, *moved, calls, conv_bias=left_out, **settings) for _ in range(2))
        results.append([y, *moved, *torch.autograd.grad(y, tensors, grad)])
    torch.testing.assert_close(*results, rtol=1e-11, atol=1e-11)


def test_kernels_agree_with_the_definition_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(INTERPRETED)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_wrong_arguments_are_refused() -> None:
    x, ones = torch.zeros(6, 4, 2, 2), [torch.ones(4) for _ in range(4)]
    for arguments, settings, message in (
        ((x, *ones, 4), {}, "4 calls"),
        ((x[0], *ones, 1), {}, "shape"),
        ((x[..., :1, :1], *ones, 6), {}, "more than one value"),
        ((x, ones[0][:3], *ones[1:], 2), {}, r"shape \(4,\)"),
        ((x, ones[0].double(), *ones[1:], 2), {}, "float32"),
        ((x, *ones, 2), {"conv_bias": ones[0][:3]}, r"shape \(4,\)"),
        ((x, *ones, 2), {"momentum": 1.0}, "momentum"),
        ((x, *ones, 2), {"backend": "cuda"}, "backend"),
    ):
        with pytest.raises(ValueError, match=message):
            call_norm(*arguments, **settings)


def compile_kernels(
    arch: int, dtype: str, channels: int, splits: int, ones: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Each kernel, compiled for ``arch``; integers named in ``ones`` are 1, which Triton takes for a constant."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from kernels.call_norm import adjoint, forward, launch

    block_m, block_c = launch.tile_shape(channels)
    every = {"C": channels, "EPS": 1e-5, "SLOPE": 0.2, "MOMENTUM": 0.1, "LOG_KEEP": -0.152, "HAS_BIAS": True}
    every |= {"BLOCK_M": block_m, "BLOCK_C": block_c, "BLOCK_K": 16, "BLOCK_S": splits, "STAGES": 3}
    every |= {"ACC": triton.language.float32, "PARTS": launch.PARTS}
    functions = {
        forward.statistics_kernel: {},
        forward.finish_statistics_kernel: {"BLOCK_C": launch.FINISH_BLOCK_C},
        forward.normalise_kernel: {},
        adjoint.gradient_sums_kernel: {},
        adjoint.finish_gradient_sums_kernel: {"BLOCK_C": launch.FINISH_BLOCK_C},
        adjoint.gradient_kernel: {},
    }
    for function, own in functions.items():
        names = function.arg_names
        one = {p.name: 1 for p in function.params if p.name in ones and not p.do_not_specialize}
        constants = every | own | one
        signature = {name: "*fp32" for name in names}
        signature |= {name: f"*{dtype}" for name in names if name in ("x", "y", "grad", "by_x")}
        signature |= {name: "i32" for name in names if name in ("rows", "count", "chunk", "calls", "splits")}
        signature |= {name: "constexpr" for name in names if name in constants}
        values = {(names.index(name),): value for name, value in constants.items() if name in names}
        aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name][0] == "*"}
        source = ASTSource(function, signature, values, aligned)
        yield function.__name__, triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": 4})


# target, operands, channels, partial sums
QUICK = [(80, "bf16", 64, 512), (90, "bf16", 64, 512), (90, "fp32", 1, 16)]
REST = [(*case, 512) for case in itertools.product((80, 90), ("fp32", "bf16", "fp16"), (1, 64, 512))]


@pytest.mark.parametrize(
    ("arch", "dtype", "channels", "splits"),
    QUICK + [pytest.param(*case, marks=pytest.mark.slow) for case in REST if case not in QUICK],
)
def test_kernels_compile_without_spills(arch: int, dtype: str, channels: int, splits: int, tmp_path: Path) -> None:
    triton = pytest.importorskip("triton")

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    for name, compiled in compile_kernels(arch, dtype, channels, splits):
        assert "f64" not in compiled.asm["ptx"]
        (tmp_path / "k.cubin").write_bytes(compiled.asm["cubin"])
        usage = subprocess.run([tool, "-res-usage", tmp_path / "k.cubin"], capture_output=True, text=True).stdout
        print(name, usage, compiled.metadata.shared)
        assert "STACK:0" in usage, usage
        if dtype == "bf16" and name in ("statistics_kernel", "gradient_sums_kernel"):
            registers = int(re.search(r"REG:(\d+)", usage).group(1))
            assert registers <= 102, "fewer than five programs find room on a multiprocessor"


@pytest.mark.parametrize("ones", [("rows", "chunk"), ("calls", "splits")])
def test_kernels_compile_where_a_size_is_one(ones: tuple[str, ...]) -> None:
    """As where each of several processes has one image of one pixel."""
    pytest.importorskip("triton")
    assert len(list(compile_kernels(90, "bf16", 64, 16, ones))) == 6


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("calls, batch, channels, side", [(6, 8, 96, 15), (1, 128, 64, 64), (16, 2, 1, 64)])
def test_kernels_agree_with_the_definition_on_a_gpu(
    dtype: torch.dtype, calls: int, batch: int, channels: int, side: int
) -> None:
    x = (torch.randn(calls * batch, channels, side, side, device="cuda") * 2 + 3).to(dtype)
    weight, bias, mean, var = (torch.rand(channels, device="cuda") + 0.5 for _ in range(4))
    state = weight.double(), bias.double(), mean.double(), var.double()
    # No gradient where rounding decides which branch of the activation a value is on.
    grad = torch.randn_like(x) * (call_norm(x.double(), *state, calls, backend="call by call").abs() > 1e-3)

    def run(backend: str, double: bool = False, compiled: bool = False) -> list[torch.Tensor]:
        tensors = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, weight, bias)]
        running = [mean.clone(), var.clone()]
        if double:
            tensors = [t.detach().double().requires_grad_() for t in tensors]
            running = [t.double() for t in running]
        torch.compiler.reset()  # other sizes were compiled before, and there is a limit to how many
        function = torch.compile(call_norm, fullgraph=True, backend="aot_eager") if compiled else call_norm
        conv_bias = bias.to(running[0].dtype)
        y = function(*tensors, *running, calls, slope=0.2, conv_bias=conv_bias, backend=backend)
        return [y, *running, *torch.autograd.grad(y, tensors, grad.to(y.dtype))]

    truth, plain = run("call by call", double=True), run("call by call")
    found, again, compiled = run("triton"), run("triton"), run("triton", compiled=True)
    for ours, repeat, other, theirs, true in zip(found, again, compiled, plain, truth, strict=True):
        assert torch.equal(ours, repeat) and torch.equal(ours, other)
        assert (ours - true).norm() <= 2 * (theirs - true).norm() + 1e-6 * true.norm()
