"""Adam with halves: the definition against PyTorch's, the Triton kernel under the interpreter, compiled, on a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from compiled_kernels import compile_kernel

from kernels.adam import Moments, adam_step
from kernels.adam.op import BLOCK, constants

INTERPRETED = Path(__file__).parent / "interpreted_adam.py"
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("betas", "excess"), [((0.9, 0.99), None), ((0.5, 0.999), 2.5)])
def test_it_is_adam_of_pytorch_on_the_gradient_in_float32(
    device: str, betas: tuple[float, float], excess: float | None
) -> None:
    torch.manual_seed(0)
    theirs = torch.nn.Parameter(torch.randn(20, 6, 3, 3, device=device).contiguous(memory_format=torch.channels_last))
    rate = torch.tensor(1e-2, device=device)
    optimizer = torch.optim.Adam([theirs], lr=1e-2, betas=betas)
    ours = theirs.detach().clone()
    moments = Moments(torch.zeros_like(ours), torch.zeros_like(ours), torch.zeros((), device=device))
    half = torch.empty_like(ours, dtype=torch.bfloat16)
    for _ in range(5):
        grad = torch.randn_like(half)
        theirs.grad = grad.float() / (excess or 1.0)
        optimizer.step()
        moments.step.add_(1)
        scale = None if excess is None else torch.tensor(excess, device=device)
        adam_step(ours, half, grad, moments, rate, betas, 1e-8, scale)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
        assert torch.equal(half, ours.bfloat16())


def test_tensors_that_do_not_lie_alike_are_refused() -> None:
    weight = torch.zeros(4, 3, 2, 2)
    moments = Moments(weight.clone(), weight.clone(), torch.ones(()))
    half = weight.bfloat16().contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="lie alike"):
        adam_step(weight, half, half, moments, torch.tensor(0.1), (0.9, 0.99), 1e-8)


def test_the_kernel_agrees_with_the_definition_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(INTERPRETED)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arch", [80, 90])
def test_the_kernel_compiles_without_spills_and_moves_sixteen_bytes_at_a_time(arch: int, tmp_path: Path) -> None:
    pytest.importorskip("triton")
    from kernels.adam.kernels import adam_kernel

    types = dict.fromkeys(adam_kernel.arg_names, "*fp32") | {"half": "*bf16", "grad": "*bf16", "numbers": "i32"}
    ptx = compile_kernel(adam_kernel, arch, types, constants((0.9, 0.99), 1e-8, True), 4, tmp_path)
    assert BLOCK % 128 == 0
    assert re.search(r"ld\.global\S*\.v4\.b32", ptx) and re.search(r"st\.global\S*\.v4\.b32", ptx)
