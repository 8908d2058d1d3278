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
from compiled_kernels import compile_kernel

from bench.thin_layers import LAYERS, NORM_EXITS
from kernels import choose
from kernels.choose.cases import Case, make_task
from kernels.choose.measure import exact_arithmetic
from kernels.thin_conv import cuts, op, thin_entry, thin_exit
from kernels.thin_conv.candidates import CUTS

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
@pytest.mark.parametrize("transposed, stride", [(True, 2), (True, 1), (False, 1)])
def test_exit_of_each_plain_way_is_the_definition(way: str, transposed: bool, stride: int) -> None:
    sizes = (20, 3) if transposed else (3, 20)
    x, weight, bias = leaves = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 20, 5, 7), (*sizes, *[2 + stride if stride == 2 else 3] * 2), (3,))
    ]
    low = x.contiguous(memory_format=torch.channels_last)
    y = op._Exit.apply(low, weight, bias, transposed, stride, way, way)
    expected = (F.conv_transpose2d if transposed else F.conv2d)(x, weight, bias, stride, 1)
    torch.testing.assert_close(thin_exit(x, weight, bias, transposed=transposed, stride=stride), expected)
    torch.testing.assert_close(y, expected)
    grad = torch.randn_like(y)
    torch.testing.assert_close(torch.autograd.grad(y, leaves, grad), torch.autograd.grad(expected, leaves, grad))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("many", [{}, {"c": 70, "f": 5}])
@pytest.mark.parametrize("op", ["thin_entry", "thin_exit", "norm_exit"])
def test_plain_candidates_agree_with_the_exact_result(op: str, many: dict, dtype: torch.dtype, error: float) -> None:
    facts = (NORM_EXITS["mnist"] if op == "norm_exit" else LAYERS["mnist", op]) | many
    small = {**facts, "n": 4, "h": 6, "w": 8, "dtype": dtype}
    small |= {"calls": 2} if op == "norm_exit" else {}
    for direction in ("forward+backward",) if op == "norm_exit" else ("forward", "backward"):
        task = make_task(Case(op, direction, tuple(small.items())), torch.device("cpu"))
        truth, plain = task.exact(), [name for name in task.candidates if "library" in name or "padded" in name]
        assert len(plain) == 2
        assert len(task.candidates) == 2 or not many, "a kernel would hold too many channels at once"
        for name in plain:
            for ours, true in zip(task.candidates[name](), truth, strict=True):
                assert ours.shape == true.shape and (ours - true).norm() <= error * true.norm(), name


def test_float64_stays_what_it_is_where_a_gpu_would_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op, "gpu_dtype", lambda x: torch.bfloat16)  # under autocast, which leaves float64 alone
    x, entry, out = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 3, 6, 6), (4, 3, 3, 3), (3, 2, 3, 3)))
    with choose.asked_for() as cases:
        assert thin_entry(x, entry, padding=1).dtype == thin_exit(x, out, transposed=True).dtype == torch.float64
    assert not cases


def test_kernels_agree_with_the_definitions_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(INTERPRETED)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def names_of(op: str, direction: str, facts: dict, arch: int) -> list[str]:
    """The cuts that a layer can take."""
    table = TABLES[op, direction]
    return [name for name, cut in table.items() if cuts.suits(cut, facts["f"], arch)]


TABLES = {**CUTS, ("norm_exit", "forward"): cuts.EXIT, ("norm_exit", "backward"): cuts.NORM_EXIT_GRADIENTS}
COMPILED = [
    (arch, preset, op, direction, cut)
    for arch in (80, 90)
    for (preset, layer), facts in LAYERS.items()
    for op in ((layer, "norm_exit") if layer == "thin_exit" else (layer,))
    for direction in ("forward", "backward")
    for cut in names_of(op, direction, facts, arch)
]
QUICK_CUTS = ("64x32", "product 64", "64x128", "64")
QUICK = [case for case in COMPILED if case[0] == 90 and case[1] == "mnist" and case[-1] in QUICK_CUTS]


@pytest.mark.parametrize(
    ("arch", "preset", "op", "direction", "cut"),
    QUICK + [pytest.param(*case, marks=pytest.mark.slow) for case in COMPILED if case not in QUICK],
)
def test_shipped_cuts_compile_without_spills(
    arch: int, preset: str, op: str, direction: str, cut: str, tmp_path: Path
) -> None:
    pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("compiling needs Triton without its interpreter")
    from kernels.thin_conv import launch, launch_exit

    norm = op == "norm_exit"
    facts, dtype = LAYERS[preset, "thin_exit" if norm else op], torch.bfloat16
    n, c, h, w, f = (facts[name] for name in ("n", "c", "h", "w", "f"))
    with torch.device("meta"):
        if op == "thin_entry":
            weight = torch.empty(f, c, facts["k"], facts["k"])
            bordered = launch.pad_constants(torch.empty(n, c, h, w), facts["padding"])
            padded = n, bordered["HP"], bordered["WP"], bordered["CP"]
            settings = facts["stride"], facts["slope"], facts["bias"], TABLES[op, direction][cut]
            constants = launch.entry_constants(padded, weight, *settings)
        else:
            side = 4 if facts["stride"] == 2 else 3
            x = torch.empty(n, c, h, w, dtype=dtype)
            weight = torch.empty(*((c, f) if facts["transposed"] else (f, c)), side, side)
    shape = TABLES[op, direction][cut]
    if op == "thin_entry":
        kernel = launch.entry_kernel if direction == "forward" else launch.entry_weights_kernel
    elif direction == "forward":
        kernel = launch_exit.exit_terms_kernel
        constants = launch_exit.terms_constants(x, weight, facts["transposed"], shape) | {"NORM": norm, "SLOPE": 0.2}
        constants |= {"MOMENTUM": 0.1, "LOG_KEEP": -0.15, "HAS_NORM_BIAS": True, "BLOCK_K": 16}
    else:
        kernel = launch_exit.exit_gradients_kernel
        constants = launch_exit.gradient_constants(x, weight, facts["transposed"], facts["stride"], shape)
        constants |= {"NORM": norm, "SLOPE": 0.2}
    half = ("x", "w", "y", "grad") if op == "thin_entry" else ("x", "by_x", "terms", "frames")
    ptx = compile_for(arch, kernel, constants, half, shape.warps, tmp_path)
    if norm and direction == "backward":
        rest = {name: value for name, value in constants.items() if name != "NORM"} | {"BLOCK_K": 16}
        by_map = compile_for(arch, launch_exit.norm_exit_gradient_kernel, rest, half, shape.warps, tmp_path)
        assert re.search(r"st\.global(\.L1::\w+)?\.v4\.b32", by_map), "the derivative is not stored side by side"
    assert re.search(r"mma\.sync|wgmma\.mma_async", ptx)
    if op == "thin_entry":
        assert "cp.async.cg.shared.global" in ptx, "windows are not loaded in pieces of 16 bytes"
    if op != "thin_entry" and shape.stages > 1:
        assert "cp.async.cg.shared.global" in ptx, "the map is not loaded ahead"
    if kernel is launch_exit.exit_terms_kernel:
        assert re.search(r"st\.global(\.L1::\w+)?\.v4\.b32", ptx), "terms are not stored side by side"


@pytest.mark.parametrize("preset", [pytest.param(p, marks=pytest.mark.slow) if p != "mnist" else p for p in NORM_EXITS])
def test_kernels_beside_frames_compile_without_spills(preset: str, tmp_path: Path) -> None:
    pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("compiling needs Triton without its interpreter")
    from kernels.thin_conv import launch, launch_exit

    facts = LAYERS[preset, "thin_exit"]
    constants = {"F": facts["f"], "H": facts["h"], "W": facts["w"], "HAS_BIAS": facts["bias"]}
    constants |= {"DOUBLES": facts["stride"] == 2, "FLIPPED": facts["transposed"], "BLOCK": launch_exit.ADDED}
    ptx = compile_for(90, launch_exit.add_terms_kernel, constants, ("terms",), 4, tmp_path)
    assert "st.global.v4.b32" in ptx, "frames are not stored side by side"
    with torch.device("meta"):
        sizes = [facts[name] for name in ("c", "f")]
        map_, weight = torch.empty(1, facts["c"], facts["h"], facts["w"]), torch.empty(sizes)
    if not facts["transposed"]:
        weight = weight.T
    frames = launch_exit.frame_constants(map_, weight, facts["transposed"], facts["stride"])
    constants = launch_exit.padding_constants(frames, facts["stride"]) | {"SUMS": True}
    for half in (("out",), ("x", "out")):  # a compiler rounds in passing
        compile_for(90, launch_exit.pad_kernel, constants, half, 4, tmp_path)
    facts = LAYERS[preset, "thin_entry"]
    constants = launch.pad_constants(torch.empty(1, *(facts[name] for name in "chw"), device="meta"), facts["padding"])
    for half in (("out",), ("x", "out")):
        ptx = compile_for(90, launch.pad_kernel, constants | {"SUMS": False}, half, 4, tmp_path)
        assert "st.global.v4.b32" in ptx, "channels are not stored side by side"


def compile_for(arch: int, kernel, constants: dict, half: tuple[str, ...], warps: int, folder: Path) -> str:
    """PTX of a kernel, see ``compile_kernel``. ``half``: the pointers to bfloat16."""
    names = kernel.arg_names
    numbers = ("M", "chunk", "rows", "calls", "total", "pixels")
    types = {name: "i32" if name[:2] in ("sx", "sy", "sw", "sg") or name in numbers else "*fp32" for name in names}
    types |= {name: "*bf16" for name in names if name in half}
    constants = constants | {name: 1 for name in ("sxw", "syw", "sgw") if name in names}
    return compile_kernel(kernel, arch, types, constants, warps, folder)


CASES = [
    *((op, preset, way, facts) for (preset, op), facts in LAYERS.items() for way in ("forward", "backward")),
    *(("norm_exit", preset, "forward+backward", facts) for preset, facts in NORM_EXITS.items()),
]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("op", "preset", "direction", "facts"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_ways_agree_with_the_library_on_a_gpu(
    op: str, preset: str, direction: str, facts: dict, dtype: torch.dtype
) -> None:
    task = make_task(Case(op, direction, tuple({**facts, "dtype": dtype}.items())), torch.device("cuda"))
    with exact_arithmetic():
        truth = [t.double() for t in task.exact()]
    first, *others = task.candidates
    library = [(t.double() - true).norm() for t, true in zip(task.candidates[first](), truth, strict=True)]
    wrong = {}
    for name in others:
        found, again = task.candidates[name](), task.candidates[name]()
        for i, (ours, repeat, true, allowed) in enumerate(zip(found, again, truth, library, strict=True)):
            error = (ours.double() - true).norm()
            repeats = name in ("padded", "apart padded") or torch.equal(ours, repeat)
            if not error <= 2 * allowed + 1e-6 * true.norm() or not repeats:
                wrong[name, i] = (error.item(), allowed.item(), true.norm().item(), repeats)
    assert not wrong, wrong
