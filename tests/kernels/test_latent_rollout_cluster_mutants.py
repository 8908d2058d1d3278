"""The emulator's own test: every barrier, wait and order of the kernel, left out or changed, must be noticed."""

from __future__ import annotations

import shutil

import pytest
import torch

from kernels.latent_rollout import cluster
from kernels.latent_rollout.cluster import steps
from kernels.latent_rollout.cluster.compiler import SOURCES
from kernels.latent_rollout.cluster.emulator import Emulator, EmulatorError, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="the emulator is compiled by g++, which is not installed")

CASE = (16, 256, 2, 13, 4, 16, torch.bfloat16)  # latent, width, blocks, batch, steps, rows, dtype

STATE_WAIT, PARTS_WAIT = "  mbar_wait(f.state_bar, turn & 1);", "  mbar_wait(f.parts_bar, turn & 1);"
SEND = "  if (turn + 1 < (u32)(a.transitions * BLOCKS)) send(f, o);\n"
MUTANTS = {  # file, what stands there, what takes its place
    "no barrier before the sum over warps": ("block_step.h", "  bar_sync(1, THREADS);", ""),
    "no barrier before the drop": ("block_step.h", "    bar_sync(2, THREADS);", "    bar_arrive(2, THREADS);"),
    "no arrival before the drop": ("block_step.h", "    bar_arrive(2, THREADS);", ""),
    "no wait for the state": ("state.h", STATE_WAIT, ""),
    "no wait for the sums": ("state.h", PARTS_WAIT, ""),
    "the state's parity stuck": ("state.h", STATE_WAIT, "  mbar_wait(f.state_bar, 0);"),
    "the sums' parity stuck": ("state.h", PARTS_WAIT, "  mbar_wait(f.parts_bar, 0);"),
    "the state's barrier not armed again": ("state.h", "mbar_expect(f.state_bar, STATE_BYTES);", ";"),
    "too few bytes of the state expected": ("state.h", "f.state_bar, STATE_BYTES", "f.state_bar, STATE_BYTES - 4"),
    "only one lane waits for the state": ("state.h", STATE_WAIT, "  if (f.lane == 0)" + STATE_WAIT),
    "state sent before the sums": ("state.h", PARTS_WAIT, SEND + PARTS_WAIT),
    "one state too many sent": ("state.h", "turn + 1 < (u32)", "turn < (u32)"),
    "no cluster barrier at the start": ("rollout.cu", "  cluster_sync();  // every", "  // every"),
    "no wait for copies ahead": ("weights.h", "  copy_wait();", ""),
    "a block's lift read as another's": ("weights.h", "AT_LIFT + BLOCK *", "AT_LIFT + (BLOCK + 1) % BLOCKS *"),
    "rows beyond the batch stored": ("state.h", "live && row + r < a.batch", "live"),
    "sums one word further": ("shape.h", "AT_MIXED = AT_SUMS + WARPS * SUM_BYTES;", "AT_MIXED = AT_SUMS + 4;"),
}


def noticed(name, folder):
    """What the emulator or the comparison says of a mutant, or nothing."""
    file, old, new = MUTANTS[name]
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    text = (folder / file).read_text()
    assert text.count(old) == 1, f"{text.count(old)} places in {file} for: {old}"
    (folder / file).write_text(text.replace(old, new))
    latent, width, blocks, batch, length, rows, dtype = CASE
    t0, _, stacked = steps.example(latent, width, blocks, batch, length, dtype)
    try:
        latents, kept = cluster.forward(t0, stacked, length, True, rows, Emulator(1, folder))
    except EmulatorError as error:
        return str(error)
    return "; ".join(steps.wrong(steps.forward_errors(t0, stacked, latents, kept)))


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_noticed(name, tmp_path):
    found = noticed(name, tmp_path)
    print(f"{name}: {found}")
    assert found, "the emulator let it pass"
