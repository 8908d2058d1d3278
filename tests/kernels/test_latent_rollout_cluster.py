"""The cluster kernel's host side on a CPU: what it takes, how it compiles and keeps, what it says when it cannot."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys

import pytest
import torch

from kernels.latent_rollout import cluster, configs
from kernels.latent_rollout.cluster import check, compiler, driver, launch, steps
from kernels.latent_rollout.cluster.variant import Variant

BF16 = torch.bfloat16
WAVE = Variant(32, 512, 3, 16, False, True, BF16)


def problem(**changes):
    wave = configs.Problem(128, 32, 512, 3, BF16, False, 132, configs.SHARED_HOPPER)
    return dataclasses.replace(wave, **changes)


def test_takes_what_fits():
    assert cluster.takes(problem())
    assert cluster.takes(problem(latent=1, blocks=1, width=256, dtype=torch.float16, batch=1))
    for odd in ({"latent": 65}, {"width": 336}, {"width": 1024}, {"blocks": 5}, {"dtype": torch.float32},
                {"blocks": 4}, {"shared": 163 * 1024}):  # fmt: skip
        assert not cluster.takes(problem(**odd)), odd


def test_results_share_no_memory():
    t0, _, blocks = steps.example(32, 512, 2, 5, 4, BF16, "cpu")
    latents, kept = cluster.forward(t0, blocks, 4, True, 8, lambda *_: None)
    assert len({tensor.untyped_storage().data_ptr() for tensor in (latents, *kept)}) == 4


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Compilations made, with a stand-in for the compiler and a cache of the test's own."""
    made = []

    def compile_variant(variant, architecture):
        made.append((variant, architecture))
        return b"cubin"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiler, "compile_variant", compile_variant)
    monkeypatch.setattr(compiler, "nvrtc_version", lambda: (13, 0))
    return made


def test_a_cubin_is_compiled_once_a_variant_target_and_compiler(compiled, monkeypatch, tmp_path):
    for _ in range(2):
        assert compiler.cubin_for(WAVE, "sm_90") == b"cubin"
    assert len(compiled) == 1
    compiler.cubin_for(dataclasses.replace(WAVE, rows=8), "sm_90")
    compiler.cubin_for(WAVE, "sm_100")
    monkeypatch.setattr(compiler, "nvrtc_version", lambda: (13, 1))
    compiler.cubin_for(WAVE, "sm_90")
    assert len(compiled) == 4
    kept = sorted((tmp_path / "fastsep" / "latent_rollout").iterdir())
    assert [path.suffix for path in kept] == [".cubin"] * 4  # and nothing half-written beside them


def test_a_cache_that_cannot_be_written_is_done_without(compiled, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert compiler.cubin_for(WAVE, "sm_90") == b"cubin"
    assert len(compiled) == 2


def test_a_damaged_cubin_is_replaced(compiled, tmp_path):
    compiler.cubin_for(WAVE, "sm_90")
    (kept,) = (tmp_path / "fastsep" / "latent_rollout").iterdir()
    kept.write_bytes(b"torn")
    assert compiler.cubin_for(WAVE, "sm_90", again=True) == b"cubin" == kept.read_bytes()


def test_a_full_disk_leaves_no_part_of_a_cubin(compiled, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert compiler.cubin_for(WAVE, "sm_90") == b"cubin"
    assert not list((tmp_path / "fastsep" / "latent_rollout").iterdir())


def test_missing_bindings_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(cluster.ClusterError, match="install fastsep's extra gpu"):
        compiler.nvrtc_version()


def test_unavailable_means_no_resident_clusters(monkeypatch):
    def load(variant, device):
        raise cluster.ClusterError("no GPU")

    monkeypatch.setattr(driver, "load", load)
    assert cluster.resident_clusters(steps.example(32, 512, 1, 1, 2, BF16)[2]) == 0


def test_nothing_is_loaded_while_a_graph_is_captured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(cluster.ClusterError, match="run it once before capturing"):
        driver.load(WAVE, 0)


def test_recursion_refuses_the_signs_of_other_rows():
    _, grad, blocks = steps.example(32, 512, 1, 16, 3, BF16)
    kept = launch._room(blocks, 16, 2, 8)
    with pytest.raises(ValueError, match="clusters of 16 rows"):
        cluster.recursion(grad, kept, blocks, 16, lambda *_: None)


def test_a_stage_that_is_stopped_or_breaks_says_so(monkeypatch):
    assert [line["failed"] for line in check.run_stage("first", 0.01)] == ["stopped at its limit"]
    monkeypatch.setattr(sys, "executable", "false")
    (line,) = check.run_stage("first")
    assert check.bad(line) and line["failed"] == 1


def test_what_a_check_calls_bad():
    assert not check.bad({"case": "", "wrong": [], "same": True, "runs that differ": 0, "resident clusters": 15})
    for line in ({"wrong": ["h1 1.0e+00"]}, {"same": False}, {"replays differ": 1}, {"failed": "stopped at its limit"}):
        assert check.bad(line)


def test_errors_of_nothing_are_infinite():
    assert steps.distance(torch.tensor([float("nan")]), torch.ones(1)) == float("inf")
    assert steps.wrong({"h1": float("inf"), "h2": 0.0}) == ["h1 inf"]


def test_weights_at_odd_addresses_are_copied():
    weight = torch.arange(1 + 2 * 512 * 32, dtype=torch.int16).view(torch.bfloat16)[1:].view(2, 512, 32)
    assert weight.data_ptr() % 16
    assert launch._aligned(weight).data_ptr() % 16 == 0
    assert torch.equal(launch._aligned(weight).view(torch.int16), weight.view(torch.int16))


def test_an_empty_batch_launches_nothing():
    _, _, blocks = steps.example(32, 512, 2, 1, 2, BF16)
    latents, kept = cluster.forward(torch.empty(0, 32), blocks, 4, True, 16, lambda *_: pytest.fail("launched"))
    assert latents.shape == (7, 0, 32)
    assert kept.h1.shape == (2, 0, 512)
