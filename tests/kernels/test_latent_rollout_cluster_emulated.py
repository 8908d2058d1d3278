"""The cluster kernel's own source on an emulated cluster: exact, free of races, the same in any schedule."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from kernels.latent_rollout import cluster
from kernels.latent_rollout.cluster import phases, steps
from kernels.latent_rollout.cluster.emulator import Emulator, compiler
from kernels.latent_rollout.cluster.variant import PROGRAMS

pytestmark = pytest.mark.skipif(compiler() is None, reason="the emulator is compiled by g++, which is not installed")

BF16, FP16 = torch.bfloat16, torch.float16
QUICK = [  # latent, width, blocks, batch, steps, rows, dtype
    (32, 512, 3, 13, 2, 16, BF16),  # wave training, fewer rows
    (9, 256, 2, 13, 3, 8, FP16),  # odd sizes; two clusters, one half empty
]
MORE = [
    (32, 512, 3, 21, 3, 16, BF16),
    (32, 512, 3, 13, 3, 8, BF16),
    (20, 512, 1, 13, 4, 16, BF16),
    (20, 512, 1, 3, 4, 8, FP16),
    (64, 512, 1, 16, 3, 16, BF16),
    (64, 512, 2, 5, 2, 8, BF16),
    (64, 512, 2, 17, 2, 16, FP16),
    (16, 256, 2, 16, 3, 16, FP16),
    (32, 256, 4, 21, 3, 16, BF16),
    (64, 256, 4, 9, 2, 8, BF16),
    (10, 256, 3, 9, 3, 8, BF16),
    (1, 256, 1, 1, 2, 16, BF16),
    (32, 512, 2, 5, 1, 16, BF16),  # nothing to integrate
]


def run(case, seed):
    """Both directions in one schedule, and how the machine was used."""
    latent, width, blocks, batch, length, rows, dtype = case
    t0, grad, stacked = steps.example(latent, width, blocks, batch, length, dtype)
    emulator = Emulator(seed)
    latents, kept = cluster.forward(t0, stacked, length, True, rows, emulator)
    adjoints, dz1, dz2 = cluster.recursion(grad, kept, stacked, rows, emulator)
    errors = steps.forward_errors(t0, stacked, latents, kept)
    errors |= steps.adjoint_errors(grad, stacked, kept, adjoints, dz1, dz2)
    return (latents, kept.h1, kept.h2, adjoints, dz1, dz2), errors, emulator.reports


def check(case, seeds):
    first, errors, reports = run(case, seeds[0])
    assert not steps.wrong(errors)
    assert all(report.races == 0 for report in reports)
    if case[4] > 1:
        assert min(report.most_on_the_way for report in reports) > 100  # stores were late
    for seed in seeds[1:]:
        again = run(case, seed)[0]
        assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True)), f"schedule {seed} gives other bits"


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_exact_free_of_races_and_the_same_in_every_schedule(case):
    check(case, (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE, ids=str)
def test_more_shapes(case):
    check(case, (1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("case", [(32, 512, 3, 16, 6, 16, BF16), (16, 256, 2, 8, 8, 8, FP16)], ids=str)
def test_many_schedules(case):
    check(case, range(30))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_shapes_drawn_at_random(seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*choices):
        return choices[torch.randint(len(choices), (), generator=generator)]

    width = draw(256, 512)
    latent, blocks = draw(*((5, 1), (12, 2), (17, 1), (24, 3), (33, 1), (47, 2), (64, 1)))
    case = (latent, width, blocks, draw(1, 2, 7, 11, 19), draw(2, 3, 4), draw(8, 16), draw(BF16, FP16))
    check(case, (seed, seed + 100))


def test_shared_memory_has_no_bank_conflict():
    case = QUICK[0]
    _, _, reports = run(case, 5)
    assert [report.cycles for report in reports] == [report.least_cycles for report in reports]


def test_marks_are_noted_where_they_are_looked_for():
    latent, width, blocks, batch, length, rows, dtype = QUICK[1]
    t0, _, stacked = steps.example(latent, width, blocks, batch, length, dtype)
    marks = torch.full((blocks * (length - 1), PROGRAMS, phases.WARPS, len(phases.MARKS)), -1, dtype=torch.int32)

    def marked(variant, device, groups, arguments):
        arguments.marks = marks.data_ptr()
        Emulator(2)(dataclasses.replace(variant, profile=True), device, groups, arguments)

    cluster.forward(t0, stacked, length, True, rows, marked)
    names = [name for name, noted in zip(phases.MARKS, (marks == 0).flatten(0, 1).all(0).T, strict=True) if noted.all()]
    assert names == [
        name for name in phases.MARKS if name not in ("barrier 2", "drop sent", "parts seen", "state sent")
    ]
    owner, dropping = marks[:, :, phases.OWNER], marks[:, :, 0]  # this shape's first warp multiplies by the drop
    assert (owner[..., [phases.MARKS.index(name) for name in ("parts seen", "state sent")]] == 0).all()
    assert (dropping[..., [phases.MARKS.index(name) for name in ("barrier 2", "drop sent")]] == 0).all()


def test_forward_without_keeping_gives_the_same_latents():
    latent, width, blocks, batch, length, rows, dtype = QUICK[1]
    t0, _, stacked = steps.example(latent, width, blocks, batch, length, dtype)
    latents, kept = cluster.forward(t0, stacked, length, False, rows, Emulator(3))
    assert kept is None
    assert torch.equal(latents, cluster.forward(t0, stacked, length, True, rows, Emulator(4))[0])
