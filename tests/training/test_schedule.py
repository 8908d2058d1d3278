import pytest
import torch

from fastsep.config import OptimConfig
from fastsep.training.schedule import learning_rate


def test_one_cycle_is_pytorchs():
    total, config = 40, OptimConfig(lr=1e-3, schedule="one_cycle")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=total, cycle_momentum=False)
    for step in range(total):
        assert learning_rate(step, total, 10, config) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_milestones_count_epochs():
    config = OptimConfig(lr=1.0, schedule="milestones", milestones=(2, 3), gamma=0.5)
    rates = [learning_rate(step, 100, 10, config) for step in (0, 19, 20, 29, 30, 99)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_a_single_step_has_a_rate():
    assert learning_rate(0, 1, 1, OptimConfig(schedule="one_cycle")) > 0
