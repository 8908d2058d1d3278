"""The latent rollout's definition, its adjoint derived by hand, and the op around them, on the CPU."""

from __future__ import annotations

import pytest
import torch
from rollout_cases import make, relative
from torch import library

from kernels.latent_rollout import op, reference, rollout

SHAPES = [(1, 20, 64, 1, 1), (5, 20, 64, 3, 7), (33, 32, 80, 1, 7), (3, 7, 48, 2, 2)]  # B, L, H, blocks, steps


def gradients(t0, weights, steps, **options):
    out = rollout(t0, weights, steps, **options)
    target = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(out)
    return out, torch.autograd.grad((out * target).sum(), [t0, *weights], allow_unused=True, materialize_grads=True)


def test_the_definition_is_the_formula():
    t0, (w1, b1, w2, b2, w3, b3) = make(5, 20, 64, 1)
    expected = t0
    out = rollout(t0, (w1, b1, w2, b2, w3, b3), 4)
    for k in range(4):
        torch.testing.assert_close(out[k], expected, rtol=1e-13, atol=1e-13)
        hidden = torch.relu(expected @ w1.T + b1)
        expected = expected + torch.relu(hidden @ w2.T + b2) @ w3.T + b3


@pytest.mark.parametrize("batch, latent, width, blocks, steps", SHAPES)
def test_adjoint_equals_autograd_in_float64(batch, latent, width, blocks, steps):
    t0, weights = make(batch, latent, width, blocks)
    expected, by_autograd = gradients(t0, weights, steps, backend="autograd")
    out, by_hand = gradients(t0, weights, steps, backend="adjoint")
    assert out.dtype == torch.float64 and out.shape == (steps, batch, latent)
    assert relative(out, expected) < 1e-14
    for hand, auto in zip(by_hand, by_autograd, strict=True):
        assert relative(hand, auto) < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_the_compute_dtype_and_leaves_the_state_float32(dtype):
    t0, weights = make(33, 20, 64, 2, torch.float32)
    exact, exact_grads = gradients(t0.double(), [w.double() for w in weights], 6)
    with torch.autocast("cpu", dtype=dtype):
        out, grads = gradients(t0, weights, 6, backend="adjoint")
        _, plain_grads = gradients(t0, weights, 6, backend="autograd")
        explicit = rollout(t0, weights, 6, dtype=dtype, backend="adjoint")
        full = rollout(t0, weights, 6, dtype=torch.float32)
    assert out.dtype == torch.float32 and all(g.dtype == torch.float32 for g in grads)
    assert torch.equal(out, explicit)
    assert 1e-5 < relative(out, exact) < torch.finfo(dtype).eps
    assert relative(full, exact) < 1e-6
    for grad, plain, wanted in zip(grads, plain_grads, exact_grads, strict=True):
        assert relative(grad, wanted) < 2 * relative(plain, wanted)


def test_low_precision_state_from_an_encoder_is_accepted():
    t0, weights = make(5, 20, 64, 1, torch.float32)
    low = t0.detach().bfloat16().requires_grad_()
    out, (by_t0, *_) = gradients(low, weights, 3)
    assert out.dtype == torch.float32 and by_t0.dtype == torch.bfloat16
    assert torch.equal(out[0], low.float())


def test_float64_stays_float64_under_autocast():
    t0, weights = make(3, 20, 64, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for backend in ("adjoint", "autograd"):
            out = rollout(t0, weights, 5, backend=backend)
            assert out.dtype == torch.float64
            assert relative(out, rollout(t0, weights, 5, backend="autograd")) < 1e-13


@pytest.mark.parametrize("blocks", [1, 3])
def test_opcheck(blocks):
    t0, weights = make(5, 20, 64, blocks, torch.float32)
    t0, weights = t0.detach(), [w.detach() for w in weights]
    for dtype in (torch.float32, torch.bfloat16):
        library.opcheck(torch.ops.fastsep.latent_rollout_blocks, (weights, dtype))
    stacks = torch.ops.fastsep.latent_rollout_blocks(weights, torch.float32)
    for keep in (False, True):
        library.opcheck(torch.ops.fastsep.latent_rollout, (t0, stacks, 4, "adjoint", keep))
    saved = torch.ops.fastsep.latent_rollout(t0, stacks, 4, "adjoint", True)
    arguments = (*saved, torch.randn(4, 5, 20), stacks, torch.float32, "adjoint")
    library.opcheck(torch.ops.fastsep.latent_rollout_backward, arguments)


def test_kept_and_rebuilt_hidden_activations_give_the_same_gradients():
    t0, weights = make(5, 20, 64, 3)
    blocks = reference.stack_blocks(weights, torch.float64)
    kept = reference.empty_hidden(t0, blocks, 4)
    latents = reference.trajectory(t0.detach(), blocks, 4, kept)
    grad = torch.randn(4, 5, 20, dtype=torch.float64)
    (first, by_kept), (second, by_rebuilt) = (reference.adjoint(latents, grad, blocks, k) for k in (kept, None))
    assert all(relative(a, b) < 1e-13 for a, b in zip((first, *by_kept), (second, *by_rebuilt), strict=True))


@pytest.mark.parametrize("backend", ["adjoint", "autograd"])
def test_compiles_as_one_graph(backend):
    t0, weights = make(5, 20, 64, 2, torch.float32)

    def loss(t0, *weights):
        return rollout(t0, weights, 3, backend=backend).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(loss(t0, *weights), [t0, *weights])
    for grad, wanted in zip(torch.autograd.grad(compiled(t0, *weights), [t0, *weights]), expected, strict=True):
        assert relative(grad, wanted) < 1e-6
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(compiled(t0, *weights), loss(t0, *weights), rtol=1e-6, atol=0)


def test_does_not_write_into_its_inputs_and_gives_fresh_gradients():
    t0, weights = make(4, 20, 64, 1, torch.float32)
    before = [t.detach().clone() for t in (t0, *weights)]
    out, grads = gradients(t0, weights, 1)
    assert torch.equal(out[0], t0) and not any(g.abs().sum() for g in grads[1:])
    out.detach().zero_()
    assert all(torch.equal(t, b) for t, b in zip((t0, *weights), before, strict=True))


def test_gradients_of_blocks_share_memory_but_no_element():
    t0, weights = make(4, 20, 64, 3, torch.float32)
    rollout(t0, weights, 3).square().sum().backward()
    first = [w.grad.clone() for w in weights]
    rollout(t0, weights, 3).square().sum().backward()
    assert all(torch.allclose(w.grad, 2 * g, rtol=1e-6) for w, g in zip(weights, first, strict=True))
    weights[2].grad.zero_()  # as an optimiser may, with autograd on
    weights[8].grad.mul_(0.5)
    changed = {2: 0.0, 8: 1.0}
    for k, (w, g) in enumerate(zip(weights, first, strict=True)):
        assert torch.allclose(w.grad, changed.get(k, 2.0) * g, rtol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a.update(steps=0), "steps"),
        (lambda a: a.update(backend="cuda"), "backend"),
        (lambda a: a.update(t0=a["t0"][0]), "t0 has shape"),
        (lambda a: a.update(t0=a["t0"].long()), "floating-point"),
        (lambda a: a.update(weights=a["weights"][:5]), "per residual block"),
        (lambda a: a["weights"].reverse(), "weight 0"),
    ],
)
def test_bad_arguments_are_named(change, message):
    t0, weights = make(4, 20, 64, 1, torch.float32)
    arguments = dict(t0=t0, weights=weights, steps=3, backend="auto")
    change(arguments)
    with pytest.raises(ValueError, match=message):
        rollout(arguments["t0"], arguments["weights"], arguments["steps"], backend=arguments["backend"])


def test_cpu_backend_is_a_real_one():
    assert op.CPU_BACKEND in ("adjoint", "autograd")


def test_setting_decides_what_auto_means(monkeypatch):
    t0, weights = make(2, 20, 64, 1, torch.float32)
    monkeypatch.setattr(op, "_SETTING", "torch")
    assert "Rollout" not in rollout(t0, weights, 2).grad_fn.name()
    monkeypatch.setattr(op, "_SETTING", "triton")
    with pytest.raises(ValueError, match="needs"):
        rollout(t0, weights, 2)


def test_empty_batch_and_inference_mode():
    t0, weights = make(2, 20, 64, 1, torch.float32)
    assert rollout(t0[:0], weights, 3).shape == (3, 0, 20)
    with torch.inference_mode():
        assert torch.equal(rollout(t0, weights, 3), rollout(t0, weights, 3, backend="adjoint"))
