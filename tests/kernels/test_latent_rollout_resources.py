"""Compile-only proof that the shipped rollout kernels fit a GPU that need not be there."""

from __future__ import annotations

import os

import pytest
import torch

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("compiling needs Triton without its interpreter", allow_module_level=True)

from kernels.latent_rollout import configs, resources


def shape(cut):
    return cut.problem.latent, cut.problem.blocks, cut.problem.dtype


CASES = [(arch, cut) for arch in resources.SHARED_LIMIT for cut in resources.shipped(arch)]
# The wave preset's training on the newest target runs always, the other shapes when slow tests are asked for.
QUICK = [c for c in CASES if (c[0], *shape(c[1])) == (90, 32, 3, torch.bfloat16)]


def check(architecture, cut):
    found = resources.compile_only(cut, architecture)
    print(resources.row(cut, architecture, found))
    assert found.spilled == 0
    assert found.shared <= resources.SHARED_LIMIT[architecture]
    assert not found.float64
    assert bool(found.tensor_core) == cut.problem.low_precision
    if isinstance(cut.config, configs.Stationary):
        check_loop(found.loop, configs.holds_weights(cut.config, cut.problem))
    return resources.row(cut, architecture, found)


def check_loop(loop, held):
    """A sum over warps by ``tl.sum``, a loaded bias or an unfortunate order of axes cost more than all products do."""
    assert loop.cycles and not loop.unknown
    assert loop.conflicts == 0 if held else loop.conflicts <= loop.cycles // 3
    assert loop.shuffles <= 2
    assert loop.barriers <= 29


@pytest.mark.parametrize("architecture, cut", QUICK, ids=str)
def test_kernel_fits_as_the_committed_table_says(architecture, cut):
    line, table = check(architecture, cut), resources.TABLE.read_text()
    if f"Triton {resources.triton.__version__};" in table:  # another compiler allots registers differently
        assert line in table


@pytest.mark.slow
@pytest.mark.parametrize("architecture, cut", [c for c in CASES if c not in QUICK], ids=str)
def test_every_kernel_fits(architecture, cut):
    check(architecture, cut)


@pytest.mark.slow
@pytest.mark.parametrize("latent, blocks", [(32, 3), (20, 1), (64, 1)])
@pytest.mark.parametrize("adjoint", [False, True])
def test_every_candidate_of_the_sweep_fits_hopper(latent, blocks, adjoint):
    shape = configs.Problem(16, latent, 512, blocks, torch.bfloat16, adjoint, 132, resources.SHARED_LIMIT[90])
    for config in configs.candidates(shape):
        check(90, resources.Cut(shape, config, keep=adjoint or configs.leaves_hidden(config, shape)))


def test_committed_table_lists_every_shipped_cut():
    rows = [line for line in resources.TABLE.read_text().splitlines() if line.startswith("| sm_")]
    assert len(rows) == len(CASES)
    assert all(line.split("|")[10].strip() == "0" for line in rows), "a spill in the committed table"


def problem(batch=128, width=512, dtype=torch.bfloat16, programs=132, latent=32, blocks=3):
    return configs.Problem(batch, latent, width, blocks, dtype, False, programs, resources.SHARED_LIMIT[90])


def test_stationary_gives_way_where_its_programs_cannot_all_be_resident():
    assert isinstance(configs.choose(problem(128), "stationary"), configs.Stationary)
    assert isinstance(configs.choose(problem(144), "stationary"), configs.Streaming)
    assert isinstance(configs.choose(problem(128, programs=108), "stationary"), configs.Streaming)
    assert isinstance(configs.choose(problem(16, width=1024), "stationary"), configs.Streaming)


def test_unsupported_problems_get_no_kernel():
    for odd in ({"latent": 65}, {"width": 72}, {"width": 2048}, {"blocks": 5}, {"dtype": torch.float64}):
        assert configs.choose(problem(**odd)) is None


def test_wave_training_keeps_all_weights_on_chip():
    assert configs.holds_weights(configs.STATIONARY, problem())
