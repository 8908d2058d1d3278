"""Compile-only proof that every variant of the cluster kernel fits a GPU that need not be there."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest
import torch

from kernels.latent_rollout.cluster import compiler
from kernels.latent_rollout.cluster.variant import Variant, supported

triton = pytest.importorskip("triton")  # for its cuobjdump
try:
    compiler.nvrtc_version()
except compiler.ClusterError as reason:
    pytest.skip(str(reason), allow_module_level=True)

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
SHARED_HOPPER = 227 * 1024
BF16, FP16 = torch.bfloat16, torch.float16
MODELS = [
    (latent, width, blocks)
    for latent, width, blocks in itertools.product((16, 20, 32, 64), (256, 512), (1, 2, 3, 4))
    if supported(latent, width, blocks, BF16, SHARED_HOPPER)
]
VARIANTS = [
    Variant(*model, rows, adjoint, save, dtype)
    for model, rows, (adjoint, save), dtype in itertools.product(
        MODELS, (8, 16), ((False, False), (False, True), (True, True)), (BF16, FP16)
    )
    if dtype == BF16 or model == (32, 512, 3)
]
QUICK = [v for v in VARIANTS if (v.latent, v.width, v.blocks, v.rows, v.dtype, v.save) == (32, 512, 3, 16, BF16, True)]


def check(variant, folder):
    cubin = folder / "rollout.cubin"
    cubin.write_bytes(compiler.compile_variant(variant, "sm_90"))
    usage, code = (
        subprocess.run([CUOBJDUMP, option, cubin], capture_output=True, text=True, check=True).stdout
        for option in ("-res-usage", "-sass")
    )
    registers, stack, local = (int(re.search(rf"{name}:(\d+)", usage)[1]) for name in ("REG", "STACK", "LOCAL"))
    print(f"{registers} registers, {stack + local} bytes spilled, {variant.shared} bytes shared")
    assert registers <= 255
    assert stack + local == 0
    assert variant.shared <= SHARED_HOPPER
    assert not re.search(r"\b(DFMA|DADD|DMUL|DSETP|F2F\.F64)", code)
    # Nothing in the loop waits for more than it must: the only fences of the GPU are those of the two cluster barriers.
    assert len(re.findall(r"UCGABAR_ARV", code)) == 2
    assert len(re.findall(r"MEMBAR\.\w+\.GPU", code)) <= 2
    assert len(re.findall(r"BAR\.SYNC", code)) == 2 * variant.blocks
    assert len(re.findall(r"BPT\.TRAP", code)) == 2 * variant.blocks  # every wait is bounded


@pytest.mark.parametrize("variant", QUICK, ids=str)
def test_wave_training_fits(variant, tmp_path):
    check(variant, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [v for v in VARIANTS if v not in QUICK], ids=str)
def test_every_variant_fits(variant, tmp_path):
    check(variant, tmp_path)


def test_what_does_not_fit_is_not_taken():
    assert (64, 512, 2) in MODELS and (32, 512, 3) in MODELS
    assert not {(64, 512, 3), (64, 512, 4), (32, 512, 4)} & set(MODELS)
