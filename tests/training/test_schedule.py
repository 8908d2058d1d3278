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


def test_one_cycle_climbs_and_ends_where_it_is_told():
    total, config = 100, OptimConfig(lr=1e-3, schedule="one_cycle", warm_up=0.1, final_rate=0.05)
    rates = [learning_rate(step, total, 10, config) for step in range(total)]
    assert rates[0] == pytest.approx(4e-5) and rates[-1] == pytest.approx(5e-5)
    assert max(range(total), key=rates.__getitem__) == 9
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)


@pytest.mark.parametrize("warm_up", [0.0, 1.0])
def test_one_cycle_without_climb_or_fall(warm_up):
    config = OptimConfig(lr=1e-3, schedule="one_cycle", warm_up=warm_up, final_rate=0.0)
    rates = [learning_rate(step, 50, 10, config) for step in range(50)]
    assert rates == sorted(rates, reverse=not warm_up)
    assert max(rates) == pytest.approx(1e-3)


def test_milestones_count_epochs():
    config = OptimConfig(lr=1.0, schedule="milestones", milestones=(2, 3), gamma=0.5)
    rates = [learning_rate(step, 100, 10, config) for step in (0, 19, 20, 29, 30, 99)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_a_single_step_has_a_rate():
    assert learning_rate(0, 1, 1, OptimConfig(schedule="one_cycle")) > 0
