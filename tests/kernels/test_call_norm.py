"""Batch norm per call: definition, derivatives by hand, Triton kernels under the interpreter and compiled."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from kernels.call_norm import call_norm
from kernels.call_norm.reference import call_norm_backward_reference, call_norm_reference

INTERPRETED = Path(__file__).parent / "interpreted_call_norm.py"


def inputs(calls: int, batch: int, channels: int) -> list[torch.Tensor]:
    x = torch.randn(calls * batch, channels, 3, 2, dtype=torch.float64) * 2 + 1
    weight, bias = torch.rand(channels, dtype=torch.float64) + 0.5, torch.randn(channels, dtype=torch.float64)
    return [t.requires_grad_() for t in (x, weight, bias)]


@pytest.mark.parametrize("slope", [0.2, 0.0, 1.0])
@pytest.mark.parametrize(("calls", "batch", "channels"), [(1, 1, 1), (3, 5, 7)])
def test_definition_is_native_batch_norm_per_call(calls: int, batch: int, channels: int, slope: float) -> None:
    x, weight, bias = inputs(calls, batch, channels)
    y, mean, var = call_norm(x, weight, bias, calls, slope=slope)
    parts = [F.batch_norm(part, None, None, weight, bias, True) for part in x.chunk(calls)]
    torch.testing.assert_close(y, F.leaky_relu(torch.cat(parts), slope))
    torch.testing.assert_close(mean, torch.stack([part.mean((0, 2, 3)) for part in x.chunk(calls)]))
    torch.testing.assert_close(var, torch.stack([part.var((0, 2, 3), correction=0) for part in x.chunk(calls)]))


@pytest.mark.parametrize("slope", [0.2, 0.0, 1.0])
def test_derivatives_by_hand_equal_autograd(slope: float) -> None:
    calls = 3
    x, weight, bias = inputs(calls, 5, 7)
    y, mean, var = call_norm_reference(x, weight, bias, calls, 1e-5, slope)
    grad = torch.randn_like(y)
    expected = torch.autograd.grad(y, [x, weight, bias], grad)
    with torch.no_grad():
        found = call_norm_backward_reference(grad, x, y, mean, var, weight, calls, 1e-5, slope)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_kernels_agree_with_the_definition_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(INTERPRETED)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_wrong_arguments_are_refused() -> None:
    x, weight, bias = torch.zeros(6, 4, 2, 2), torch.ones(4), torch.zeros(4)
    for arguments, message in (
        ((x, weight, bias, 4), "4 calls"),
        ((x[0], weight, bias, 1), "shape"),
        ((x, weight[:3], bias, 2), "weight and bias"),
        ((x, weight.double(), bias, 2), "float32"),
    ):
        with pytest.raises(ValueError, match=message):
            call_norm(*arguments)
    with pytest.raises(ValueError, match="backend"):
        call_norm(x, weight, bias, 2, backend="cuda")


QUICK = [(80, "bf16", 64), (90, "bf16", 64), (90, "fp32", 1)]
REST = [case for case in itertools.product((80, 90), ("fp32", "bf16", "fp16"), (1, 64, 512)) if case not in QUICK]


@pytest.mark.parametrize(
    ("arch", "dtype", "channels"), QUICK + [pytest.param(*case, marks=pytest.mark.slow) for case in REST]
)
def test_kernels_compile_without_spills(arch: int, dtype: str, channels: int, tmp_path: Path) -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from kernels.call_norm import kernel, launch

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    block_m, block_c = launch.tile_shape(channels)
    constants = {"C": channels, "EPS": 1e-5, "SLOPE": 0.2, "BLOCK_M": block_m, "BLOCK_C": block_c}
    constants["ACC"] = triton.language.float32
    tensors = {"x", "y", "grad", "by_x"}
    for function in (
        kernel.statistics_kernel,
        kernel.normalise_kernel,
        kernel.gradient_sums_kernel,
        kernel.gradient_kernel,
    ):
        names = function.arg_names
        signature = {
            name: "constexpr"
            if name in constants
            else "i32"
            if name in ("rows", "chunk")
            else f"*{dtype}"
            if name in tensors
            else "*fp32"
            for name in names
        }
        used = {(names.index(name),): value for name, value in constants.items() if name in names}
        source = ASTSource(function, signature, used)
        compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": 4})
        assert "f64" not in compiled.asm["ptx"]
        (tmp_path / "k.cubin").write_bytes(compiled.asm["cubin"])
        usage = subprocess.run([tool, "-res-usage", tmp_path / "k.cubin"], capture_output=True, text=True).stdout
        assert "STACK:0" in usage, usage


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_agree_with_the_definition_on_a_gpu(dtype: torch.dtype) -> None:
    x = (torch.randn(6 * 8, 96, 16, 15, device="cuda") * 2 + 3).to(dtype).requires_grad_()
    weight, bias = torch.rand(96, device="cuda").requires_grad_(), torch.randn(96, device="cuda").requires_grad_()
    grad = torch.randn_like(x)
    exact = [t.detach().double().requires_grad_() for t in (x, weight, bias)]

    def run(tensors: list[torch.Tensor], backend: str) -> list[torch.Tensor]:
        y, mean, var = call_norm(*tensors, 6, slope=0.2, backend=backend)
        return [y, mean, var, *torch.autograd.grad(y, tensors, grad.to(y.dtype))]

    truth, plain = run(exact, "reference"), run([x, weight, bias], "reference")
    found = run([x, weight, bias], "triton")
    again = run([x, weight, bias], "triton")
    for ours, repeat, theirs, true in zip(found, again, plain, truth, strict=True):
        assert torch.equal(ours, repeat)
        assert (ours - true).norm() <= 2 * (theirs - true).norm() + 1e-6 * true.norm()
