"""Adam on weights in both layouts equals PyTorch's, bit for bit, and keeps PyTorch's state."""

from __future__ import annotations

import pytest
import torch
from step_cases import CONFIG, make_step

from fastsep.training.adam import Adam


def parameters() -> list[torch.Tensor]:
    """A matrix, a vector, convolutions' weights in both layouts, and one without a gradient."""
    torch.manual_seed(0)
    tensors = [torch.randn(shape) for shape in ((5, 7), (5,), (6, 5, 3, 3), (6, 5, 3, 3), (3,))]
    tensors[3] = tensors[3].contiguous(memory_format=torch.channels_last)
    return [tensor.requires_grad_() for tensor in tensors]


def test_steps_are_those_of_pytorch() -> None:
    ours, theirs = parameters(), parameters()
    settings = {"lr": torch.tensor(1e-2), "betas": (0.9, 0.99), "fused": True}
    mine, plain = Adam(ours, **settings), torch.optim.Adam(theirs, **settings)
    for _ in range(3):
        for one, other in zip(ours[:-1], theirs[:-1], strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        mine.step()
        plain.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
    a, b = mine.state_dict(), plain.state_dict()
    assert a["state"].keys() == b["state"].keys() == {0, 1, 2, 3}
    for k in a["state"]:
        for name, tensor in a["state"][k].items():
            assert torch.equal(tensor, b["state"][k][name]) and tensor.shape == b["state"][k][name].shape
    assert ours[3].is_contiguous(memory_format=torch.channels_last)
    plain.load_state_dict(a)
    mine.load_state_dict(b)


def test_mixed_layouts_of_weight_and_gradient_are_left_to_pytorch() -> None:
    ours, theirs = parameters()[3], parameters()[3]
    ours.grad = torch.randn(ours.shape)
    theirs.grad = ours.grad.clone()
    for optimizer in (Adam([ours], fused=True), torch.optim.Adam([theirs], fused=True)):
        optimizer.step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_denormal_moments_become_zeros_and_the_others_stay(dtype: torch.dtype) -> None:
    weight = torch.ones(2, 3, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    optimizer = Adam([weight], fused=True)
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    tiny = torch.finfo(dtype).tiny
    small = torch.tensor([tiny / 4, -tiny / 4, 2 * tiny, -2 * tiny], dtype=dtype)
    assert small.all(), "this machine computes without denormals"
    moments = [optimizer.state[weight][name] for name in ("exp_avg", "exp_avg_sq")]
    for moment in moments:
        moment[0, 0, 0] = small[:3]
        moment[0, 0, 1, 0] = small[3]
    before = [moment.clone() for moment in moments]
    optimizer.clear_denormals()
    for moment, was in zip(moments, before, strict=True):
        was[0, 0, 0, :2] = 0.0
        assert torch.equal(moment, was) and moment.is_contiguous(memory_format=torch.channels_last)


def test_moments_of_weights_without_a_gradient_end_as_zeros() -> None:
    step, index = make_step(), torch.arange(CONFIG.optim.batch_size)
    step(index, 1e-3)
    weight = next(step.model.parameters())
    moment = step.optimizer.state[weight]["exp_avg"]
    moment.fill_(1e-42)
    weight.register_hook(torch.zeros_like)
    step.done = 98
    step(index, 1e-3)
    assert moment.all()
    step(index, 1e-3)
    assert not moment.any()
