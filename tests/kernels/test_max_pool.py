"""Max-pooling: Triton kernels under the interpreter, compiled, and on a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from compiled_kernels import compile_kernel

from kernels.choose.cases import Case, make_task
from kernels.choose.measure import exact_arithmetic
from kernels.max_pool import max_pool
from kernels.max_pool.reference import max_pool_reference

INTERPRETED = Path(__file__).parent / "interpreted_max_pool.py"
STEM = {"side": 3, "n": 256, "c": 64, "h": 33, "w": 33}
"""Of the chairs encoders, for two calls."""
STAGE = {"side": 2, "n": 200, "c": 64, "h": 32, "w": 32}
"""Of the taxibj encoders, likewise."""


def test_on_a_cpu_it_is_the_definition() -> None:
    x = torch.randn(2, 3, 5, 7, requires_grad=True)
    for side, pooled in ((2, (2, 3)), (3, (3, 4))):
        torch.testing.assert_close(max_pool(x, side), max_pool_reference(x, side), rtol=0, atol=0)
        assert max_pool(x, side).shape[2:] == pooled
    with pytest.raises(ValueError, match="5x5"):
        max_pool(x, 5)


def test_without_a_gpu_the_kernels_say_so() -> None:
    with pytest.raises(ValueError, match="needs a GPU"):
        torch.ops.fastsep.max_pool(torch.randn(1, 2, 4, 4), 3)


def test_kernels_agree_with_the_definition_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(INTERPRETED)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("facts", [STEM, STAGE], ids=["chairs", "taxibj"])
def test_kernels_compile_without_spills_and_move_sixteen_bytes_at_a_time(
    arch: int, backward: bool, facts: dict[str, int], tmp_path: Path
) -> None:
    pytest.importorskip("triton")
    from kernels.max_pool import launch

    kernel = launch.max_pool_gradient_kernel if backward else launch.max_pool_kernel
    known = launch.constants(*(facts[name] for name in ("side", "c", "h", "w")))
    types = dict.fromkeys(("x", "y", "grad", "by_x"), "*bf16") | {"place": "*i8", "windows": "i32", "squares": "i32"}
    ptx = compile_kernel(kernel, arch, types, known, 4, tmp_path)
    assert re.search(r"ld\.global\S*\.v4\.b32", ptx) and re.search(r"st\.global\S*\.v4\.b32", ptx)


def test_both_ways_are_candidates_and_the_library_is_the_first() -> None:
    case = Case("max_pool", "forward+backward", tuple({**STEM, "n": 2, "dtype": torch.bfloat16}.items()))
    task = make_task(case, torch.device("cpu"))
    assert list(task.candidates) == ["library", "triton"]
    for found, exact in zip(task.candidates["library"](), task.exact(), strict=True):
        assert found.dtype == torch.bfloat16
        assert (found.float() - exact).norm() <= 4e-3 * exact.norm()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "sizes",
    [STEM, STAGE, *({"side": side, "n": 3, "c": 20, "h": 5, "w": 7} for side in (2, 3))],
    ids=["chairs", "taxibj", "odd 2", "odd 3"],
)
def test_the_kernels_agree_with_the_library_on_a_gpu(sizes: dict[str, int], dtype: torch.dtype) -> None:
    task = make_task(Case("max_pool", "forward+backward", (*sizes.items(), ("dtype", dtype))), torch.device("cuda"))
    with exact_arithmetic():
        exact = [t.double() for t in task.exact()]
    library, ours, again = (task.candidates[name]() for name in ("library", "triton", "triton"))
    for theirs, found, repeat, true in zip(library, ours, again, exact, strict=True):
        assert torch.equal(found, repeat)
        assert (found.double() - true).norm() <= 2 * (theirs.double() - true).norm() + 1e-6 * true.norm()
