"""Which kernel a rollout gets: what was chosen on this machine, and what happens where that cannot run."""

from __future__ import annotations

import pytest
import torch
from rollout_cases import make, relative
from torch._subclasses.fake_tensor import FakeTensorMode

from kernels.choose import Case, asked_for, use
from kernels.choose.cases import make_task
from kernels.latent_rollout import OP, rollout, settle
from kernels.latent_rollout.cluster import ClusterError

SHAPE = {"batch": 5, "steps": 3, "latent": 20, "width": 64, "blocks": 2, "dtype": torch.bfloat16}


def case(direction):
    return Case(OP, direction, tuple(SHAPE.items()))


@pytest.fixture(autouse=True)
def nothing_in_force():
    yield
    use({})


@pytest.fixture
def ran(monkeypatch):
    """The backends that rollouts come to; none runs."""
    backends = []
    monkeypatch.setattr("kernels.latent_rollout.op._Rollout.apply", lambda *a: backends.append(a[3]))
    return backends


def roll_on_a_gpu(dtype=torch.bfloat16, gradients=True, latent=20):
    """A rollout on a GPU that need not be there."""
    with FakeTensorMode():
        t0 = torch.empty(5, latent, device="cuda")
        shapes = ((64, latent), (64,), (64, 64), (64,), (latent, 64), (latent,))
        weights = [torch.empty(s, device="cuda").requires_grad_(gradients) for _ in range(2) for s in shapes]
        rollout(t0, weights, 3, dtype=dtype)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_rollout_on_a_gpu_asks_for_its_case(gradients, ran):
    with asked_for() as cases:
        roll_on_a_gpu(gradients=gradients)
    assert list(cases) == [case("forward+backward" if gradients else "forward")] and ran == ["auto"]


def test_what_no_kernel_takes_asks_nothing(ran):
    with asked_for() as cases:
        roll_on_a_gpu(dtype=torch.float32)
        roll_on_a_gpu(latent=65)
    assert not cases and ran == ["auto", "auto"]


def test_the_chosen_backend_runs_and_a_cluster_that_cannot_be_had_is_named(monkeypatch, ran):
    use({case("forward+backward"): "streaming"})
    roll_on_a_gpu()
    loaded = []
    monkeypatch.setattr(settle.driver, "load", lambda variant, device: loaded.append(variant))
    use({case("forward+backward"): "cluster16"})
    roll_on_a_gpu()
    assert ran == ["streaming", "cluster16"]
    assert [(v.rows, v.adjoint, v.save) for v in loaded] == [(16, False, True), (16, True, True)]

    def refuse(variant, device):
        raise ClusterError("no clusters here")

    monkeypatch.setattr(settle.driver, "load", refuse)
    with pytest.warns(UserWarning, match="no clusters here"):
        roll_on_a_gpu()
    assert ran[-1] == "auto"


@pytest.mark.parametrize("direction", ["forward", "forward+backward"])
def test_a_task_knows_the_exact_result(direction):
    task = make_task(case(direction), torch.device("cpu"))
    assert next(iter(task.candidates)) == "adjoint"
    found, exact = task.candidates["adjoint"](), task.exact()
    assert len(found) == (1 if direction == "forward" else 2 + 12)
    # A hidden unit that bfloat16 puts on the other side of zero moves the gradients of five rows by some per cent.
    assert all(0 < relative(a, b) < 0.1 for a, b in zip(found, exact, strict=True))


def test_the_cluster_kernel_says_why_it_cannot_run():
    t0, weights = make(4, 20, 64, 1, torch.float32)
    with pytest.raises(ValueError, match="cluster16"):
        rollout(t0, weights, 3, dtype=torch.bfloat16, backend="cluster16")


def test_the_compiler_takes_the_choice_of_each_batch_as_a_constant():
    weights = make(5, 20, 64, 2, torch.float32)[1]

    @torch.compile(fullgraph=True, backend="eager")
    def name_of(t0):
        return t0 * (2 if settle.settled(t0, weights, 3, torch.bfloat16, True) == "streaming" else 3)

    use({case("forward+backward"): "streaming"})
    for batch, factor in ((5, 2), (7, 3), (9, 3), (5, 2)):
        assert name_of(torch.ones(batch, 20))[0, 0] == factor
