"""Entries and exits: ways in plain PyTorch, Triton kernels under the interpreter, compiled, and on a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from bench.thin_layers import LAYERS
from kernels.choose.cases import Case, make_task
from kernels.choose.measure import exact_arithmetic
from kernels.thin_conv import cuts, op, thin_entry, thin_exit
from kernels.thin_conv.candidates import ways

INTERPRETED = Path(__file__).parent / "interpreted_thin_conv.py"


@pytest.mark.parametrize("way", ["library", "padded"])
@pytest.mark.parametrize("slope, has_bias", [(0.2, True), (1.0, False)])
def test_entry_of_each_plain_way_is_the_definition(way: str, slope: float, has_bias: bool) -> None:
    x, bias = torch.rand(2, 3, 5, 7, dtype=torch.float64), torch.randn(20, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(20, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    shift, leaves = (bias, (weight, bias)) if has_bias else (None, (weight,))
    y = op._Entry.apply(x, weight, shift, 2, 1, slope, torch.float64, way, way)
    expected = F.leaky_relu(F.conv2d(x, weight, shift, 2, 1), slope)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(thin_entry(x, weight, shift, stride=2, padding=1, slope=slope), expected)
    grad = torch.randn_like(y)
    torch.testing.assert_close(torch.autograd.grad(y, leaves, grad), torch.autograd.grad(expected, leaves, grad))


@pytest.mark.parametrize("way", ["library", "padded"])
@pytest.mark.parametrize("transposed, stride, sigmoid", [(True, 2, True), (True, 1, False), (False, 1, False)])
def test_exit_of_each_plain_way_is_the_definition(way: str, transposed: bool, stride: int, sigmoid: bool) -> None:
    sizes = (20, 3) if transposed else (3, 20)
    x, weight, bias = leaves = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 20, 5, 7), (*sizes, *[2 + stride if stride == 2 else 3] * 2), (3,))
    ]
    low = x.contiguous(memory_format=torch.channels_last)
    y = op._Exit.apply(low, weight, bias, transposed, stride, sigmoid, way, way)
    expected = (F.conv_transpose2d if transposed else F.conv2d)(x, weight, bias, stride, 1)
    torch.testing.assert_close(thin_exit(x, weight, bias, transposed=transposed, stride=stride), expected)
    expected = expected.sigmoid() if sigmoid else expected
    torch.testing.assert_close(y, expected)
    grad = torch.randn_like(y)
    torch.testing.assert_close(torch.autograd.grad(y, leaves, grad), torch.autograd.grad(expected, leaves, grad))


def test_kernels_agree_with_the_definitions_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(INTERPRETED)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


COMPILED = [
    (arch, preset, op, direction, way)
    for arch in (80, 90)
    for (preset, op) in LAYERS
    for direction in ("forward", "backward")
    for way in ways(op, direction, LAYERS[preset, op]["f"], LAYERS[preset, op]["w"])[2:]
]
QUICK = [
    case
    for case in COMPILED
    if case[0] == 90 and case[1] == "mnist" and case[-1] in ("triton 64x32", "triton 256", "triton 32x128", "triton 64")
]


@pytest.mark.parametrize(
    ("arch", "preset", "op", "direction", "way"),
    QUICK + [pytest.param(*case, marks=pytest.mark.slow) for case in COMPILED if case not in QUICK],
)
def test_shipped_cuts_compile_without_spills(
    arch: int, preset: str, op: str, direction: str, way: str, tmp_path: Path
) -> None:
    triton = pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("compiling needs Triton without its interpreter")
    from kernels.thin_conv import launch

    facts, cut, dtype = LAYERS[preset, op], way.partition(" ")[2], torch.bfloat16
    n, c, h, w, f = (facts[name] for name in ("n", "c", "h", "w", "f"))
    with torch.device("meta"):
        if op == "thin_entry":
            x, weight = torch.empty(n, c, h, w), torch.empty(f, c, facts["k"], facts["k"])
            constants = launch.entry_constants(x, weight, facts["stride"], facts["padding"], facts["slope"])
        else:
            side = 4 if facts["stride"] == 2 else 3
            x = torch.empty(n, c, h, w, dtype=dtype)
            weight = torch.empty(*((c, f) if facts["transposed"] else (f, c)), side, side)
            constants = launch.exit_constants(x, weight, facts["transposed"], facts["stride"], False)
    columns = weight[0].numel()
    if (op, direction) == ("thin_entry", "forward"):
        kernel, shape = launch.entry_kernel, cuts.ENTRY[cut]
        constants |= {"HAS_BIAS": facts["bias"], "BLOCK_M": shape.block_m, "BLOCK_K": shape.block_k}
    elif op == "thin_entry":
        kernel, shape = launch.entry_weights_kernel, cuts.ENTRY_WEIGHTS[cut]
        constants |= {"BLOCK_M": shape.block_m, "BLOCK_K": min(shape.block_k, launch.block(columns))}
    elif direction == "forward":
        kernel, shape = launch.exit_kernel, cuts.EXIT[cut]
        outputs, terms = launch.columns_of(f, facts["stride"] == 2)
        constants |= {"HAS_BIAS": facts["bias"], "PIXELS": shape.pixels, "OUTPUTS": outputs, "TERMS": terms}
    else:
        kernel, shape = launch.exit_gradients_kernel, cuts.EXIT_GRADIENTS[cut]
        constants |= {"BLOCK_M": shape.block_m, "COLUMNS": launch.block(16 * f), "STAGES": shape.stages}
    half = {"thin_entry": ("y", "grad"), "thin_exit": ("x", "by_x")}[op]
    names = kernel.arg_names
    signature = {name: "i32" if name[:2] in ("sx", "sy", "sw") else "*fp32" for name in names}
    signature |= {name: "*bf16" for name in names if name in half} | {
        name: "i32" for name in names if name in ("M", "chunk")
    }
    constants |= {name: 1 for name in ("sxw", "syw") if name in names}
    signature |= {name: "constexpr" for name in names if name in constants}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name] != "constexpr"}
    source = triton.compiler.ASTSource(kernel, signature, {(names.index(k),): v for k, v in constants.items()}, aligned)
    target = triton.backends.compiler.GPUTarget("cuda", arch, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": shape.warps})
    assert "f64" not in compiled.asm["ptx"]
    assert re.search(r"mma\.sync|wgmma\.mma_async", compiled.asm["ptx"])
    (tmp_path / "k.cubin").write_bytes(compiled.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    usage = subprocess.run([tool, "-res-usage", tmp_path / "k.cubin"], capture_output=True, text=True).stdout
    print(arch, preset, op, direction, way, re.findall(r"(?:REG|STACK|LOCAL):\d+", usage), compiled.metadata.shared)
    assert "STACK:0" in usage, usage


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(("preset", "op"), LAYERS)
def test_ways_agree_with_the_library_on_a_gpu(preset: str, op: str, direction: str, dtype: torch.dtype) -> None:
    device = torch.device("cuda")
    task = make_task(Case(op, direction, tuple({**LAYERS[preset, op], "dtype": dtype}.items())), device)
    with exact_arithmetic():
        truth = [t.double() for t in task.exact()]
    library = [(t.double() - true).norm() for t, true in zip(task.candidates["library"](), truth, strict=True)]
    wrong = {}
    for name, call in task.candidates.items():
        found, again = call(), call()
        for i, (ours, repeat, true, allowed) in enumerate(zip(found, again, truth, library, strict=True)):
            error = (ours.double() - true).norm()
            if not error <= 2 * allowed + 1e-6 * true.norm() or (
                name.startswith("triton") and not torch.equal(ours, repeat)
            ):
                wrong[name, i] = (error.item(), allowed.item(), true.norm().item())
    assert not wrong, wrong
