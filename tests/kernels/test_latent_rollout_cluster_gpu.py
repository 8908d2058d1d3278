"""The cluster kernel on a GPU: right at odd shapes, the same bits always, captured, on two streams."""

from __future__ import annotations

import pytest
import torch

from kernels.latent_rollout import cluster
from kernels.latent_rollout.cluster import check, steps

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def first():
    """One cluster and one block-step in a process of its own: a kernel that hangs takes no other test along."""
    if torch.cuda.get_device_capability()[0] < 9:
        pytest.skip("this GPU has no clusters")
    lines = list(check.run_stage("first"))
    bad = [line for line in lines if check.bad(line)]
    if bad:
        pytest.fail(f"the kernel does not work here at all: {bad[0]}")


@pytest.mark.parametrize("case", check.CASES, ids=check.describe)
def test_exact_step_by_step(case):
    found = check.verify(case)
    assert not found["wrong"]
    assert found["same"]


@pytest.mark.parametrize("case", check.CASES[:2], ids=check.describe)
def test_same_bits_in_a_hundred_runs_on_two_streams_and_in_a_graph(case):
    assert check.repeat(case) == 0
    assert check.streams(case) == 0
    assert check.replay(case) == 0


def test_clusters_are_resident():
    blocks = steps.example(32, 512, 3, 1, 2, torch.bfloat16, "cuda")[2]
    assert cluster.resident_clusters(blocks) > 0


def test_backward_of_another_thread():
    """Autograd calls from threads of its own, which have no CUDA context at first."""
    from concurrent.futures import ThreadPoolExecutor

    forward = check.directions(check.CASES[0])[0]
    wanted = forward()[0]
    with ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(forward).result()[0], wanted)


def test_capturing_before_loading_is_refused():
    t0, _, blocks = steps.example(17, 256, 1, 4, 3, torch.bfloat16, "cuda")  # no other test's shape
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(cluster.ClusterError, match="before capturing"), torch.cuda.graph(graph):
        cluster.forward(t0, blocks, 3, True, 16)
