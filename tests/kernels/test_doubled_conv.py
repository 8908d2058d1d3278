"""The folded convolution is the doubling and the convolution, with 4/9 of the arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kernels.choose import Case, asked_for, use
from kernels.choose.cases import make_task
from kernels.choose.measure import exact_arithmetic, judge
from kernels.doubled_conv import doubled_conv
from kernels.doubled_conv.reference import doubled_conv_reference, folded_conv, widen


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Of all numbers together, relative."""
    return ((found.double() - exact.double()).norm() / exact.double().norm()).item()


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7)], ids=str)
def test_folded_equals_doubled_then_convolved(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 6, 3, 3, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    expected = doubled_conv_reference(x, weight, bias)
    grad = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, (x, weight, bias), grad)
    for function in (folded_conv, doubled_conv):
        y = function(x, weight, bias)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.autograd.grad(y, (x, weight, bias), grad), gradients, rtol=1e-12, atol=1e-12)


def test_folding_saves_five_ninths_of_the_arithmetic() -> None:
    x, weight = torch.empty(2, 6, 8, 8, device="meta"), torch.empty(5, 6, 3, 3, device="meta")
    flops = []
    for function in (doubled_conv_reference, folded_conv):
        with FlopCounterMode(display=False) as counter:
            function(x, weight)
        flops.append(counter.get_total_flops())
    assert flops[1] * 9 == flops[0] * 4


def test_rounding_to_bf16_costs_no_more_folded() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(4, 64, 8, 8).bfloat16().double(), torch.randn(64, 64, 3, 3).double() / 24
    exact = doubled_conv_reference(x, weight)
    plain = doubled_conv_reference(x, weight.bfloat16().double()) - exact
    folded = torch.nn.functional.conv_transpose2d(x, widen(weight).bfloat16().double(), stride=2, padding=1) - exact
    assert folded.norm() < 1.2 * plain.norm()


def test_autocast_widens_the_weight_in_float32() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(20, 8, 8, 8), torch.randn(8, 8, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert widen(weight).dtype == torch.float32
        y = doubled_conv(x.bfloat16(), weight)
    assert y.dtype == torch.bfloat16
    exact, plain = doubled_conv_reference(x, weight), doubled_conv_reference(x.bfloat16(), weight.bfloat16())
    assert error(y, exact) <= 1.2 * error(plain, exact)


def test_plain_definitions_can_be_asked_for() -> None:
    script = """if True:
        import torch
        from kernels.doubled_conv import doubled_conv
        from kernels.doubled_conv.reference import doubled_conv_reference
        x, weight = torch.randn(20, 8, 8, 8), torch.randn(8, 8, 3, 3)
        print(torch.equal(doubled_conv(x, weight), doubled_conv_reference(x, weight)))"""
    said = {}
    for setting in ("auto", "torch"):
        environment = {**os.environ, "FASTSEP_KERNELS": setting, "PYTHONPATH": os.pathsep.join(sys.path)}
        said[setting] = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True).strip()
    assert said == {"auto": "False", "torch": "True"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_forms_are_candidates_and_agree(dtype: torch.dtype) -> None:
    x, weight = torch.randn(2, 16, 8, 8, dtype=dtype), torch.randn(8, 16, 3, 3, dtype=dtype)
    with asked_for() as cases:
        doubled_conv(x, weight)
    (case,) = cases
    exact = doubled_conv_reference(x.double(), weight.double())
    plain = error(doubled_conv_reference(x, weight), exact)
    found = judge(make_task(case, torch.device("cpu")), torch.device("cpu"), lambda call, device: 1.0)
    assert set(found.us) == {"doubled", "folded"} and not found.out
    try:
        for form in found.us:
            use({case: form})
            with FlopCounterMode(display=False) as counter:
                assert error(doubled_conv(x, weight), exact) <= 2 * plain
            assert counter.get_total_flops() == 2 * 2 * 16 * 16 * 8 * 16 * {"doubled": 9, "folded": 4}[form]
    finally:
        use({})


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "shape", [(900, 256, 4, 256), (900, 128, 8, 128), (900, 64, 16, 64), (896, 64, 16, 128), (896, 64, 32, 64)], ids=str
)
def test_folding_is_as_exact_as_the_library_on_the_presets_shapes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    n, c, side, f = shape
    case = Case("doubled_conv", "forward+backward", tuple(zip("nchwf", (n, c, side, side, f), strict=True)))
    task = make_task(case._replace(facts=(*case.facts, ("dtype", dtype))), torch.device("cuda"))
    with exact_arithmetic():
        truth = task.exact()
    errors = {
        form: [((y.float() - exact).norm() / exact.norm()).item() for y, exact in zip(call(), truth, strict=True)]
        for form, call in task.candidates.items()
    }
    for folded, doubled in zip(errors["folded"], errors["doubled"], strict=True):
        assert folded <= 2 * doubled
