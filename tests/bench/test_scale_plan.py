"""Predictions for many GPUs: the arithmetic by hand, and that they say what they are."""

from __future__ import annotations

import sys

import pytest

from bench import scale_plan
from bench.environment import RESULTS
from bench.links import LINKS, START, Machine, all_reduce
from bench.reporting.results_files import Device, Group, read_results
from bench.rows import Row
from bench.scale_plan import Step, find_device, measured_steps, predict
from fastsep.errors import UserError

MACHINE = Machine(inside=LINKS["nvlink4"], between=LINKS["ndr"], gpus_per_node=8, adapters=4, reached=0.5)
STEP = Step("wave", batch=128, seconds=3e-3, fixed=1e-3, gradient_bytes=240_000_000, source="made up")


def test_one_gpu_sends_nothing():
    assert all_reduce(1e9, 1, MACHINE) == 0
    for same in (False, True):
        alone = predict(STEP, 1, MACHINE, same)
        assert (alone.flat, alone.overlapped, alone.flat_efficiency, alone.batch) == (3e-3, 3e-3, 1, 128)


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (2, START + 2 * 3.4e-6 + 2 * (1 / 2) * 240e6 / (0.5 * 450e9)),
        (8, START + 14 * 3.4e-6 + 2 * (7 / 8) * 240e6 / (0.5 * 450e9)),
        (16, START + 28 * 3.4e-6 + 2 * 9.6e-6 + 2 * (15 / 16) * 240e6 / (0.5 * 4 * 50e9)),
        (12, START + 20 * 3.4e-6 + 2 * 9.6e-6 + 2 * (11 / 12) * 240e6 / (0.5 * 4 * 50e9)),
    ],
)
def test_a_ring_by_hand(gpus, expected):
    assert all_reduce(240e6, gpus, MACHINE) == pytest.approx(expected)


def test_links_inside_bound_nodes_with_many_adapters():
    fast = Machine(inside=LINKS["pcie4"], between=LINKS["xdr"], gpus_per_node=8, adapters=8, reached=1.0)
    traffic = all_reduce(1e9, 16, fast) - all_reduce(0, 16, fast)
    assert traffic == pytest.approx(2 * 15 / 16 * 1e9 / 31.5e9)


def test_a_growing_batch_pays_the_all_reduce_alone():
    a = all_reduce(240e6, 8, MACHINE)
    row = predict(STEP, 8, MACHINE, same_global_batch=False)
    assert row.all_reduce == a and row.batch == 128
    assert row.flat == pytest.approx(3e-3 + a)
    assert row.flat_efficiency == pytest.approx(3e-3 / (3e-3 + a))
    assert row.overlapped == pytest.approx(3e-3 + a - 2 / 3 * 2e-3)  # longer than the backward pass


def test_a_shared_batch_keeps_what_is_fixed():
    a = all_reduce(240e6, 8, MACHINE)
    row = predict(STEP, 8, MACHINE, same_global_batch=True)
    assert row.batch == 16
    assert row.flat == pytest.approx(1e-3 + 2e-3 / 8 + a)
    assert row.flat_efficiency == pytest.approx(3e-3 / 8 / row.flat)
    slow = Step("wave", 128, 10.0, 1.0, 240_000_000, "made up")
    hidden = predict(slow, 8, MACHINE, same_global_batch=True)
    assert hidden.overlapped == pytest.approx(1 + 9 / 8)


def device(steps: dict[str, float], slug: str = "some-gpu") -> Device:
    environment = {"device": "Some GPU", "commit": "0123456789", "cuda": "13.0"}

    def group(row: Row) -> Group:
        return Group(row.group, environment, {}, [row])

    rows = [
        Row(f"step/{name}", "fastsep captured", "cuda", "bf16", {"batch": 64}, {"median": seconds}, items=64)
        for name, seconds in steps.items()
    ]
    case = {"batch": 1, "steps": 25, "pass": "fwd+bwd"}
    rows.append(Row("rollout", "fastsep captured", "cuda", "bf16", case, {"median": 72e-6}, items=1))
    return Device(slug, environment, {"copy": 1e12, "matmul_bf16": 1e15}, {row.group: group(row) for row in rows})


def test_steps_are_those_that_were_measured():
    (wave,) = measured_steps(device({"wave": 5e-3}))
    weights = wave.gradient_bytes // 4
    assert (wave.batch, wave.seconds) == (64, 5e-3) and 60e6 < weights < 61e6
    # 28 bytes of Adam's a weight; 24 steps of three blocks at a microsecond each
    assert wave.fixed == pytest.approx(28 * weights / 1e12 + 72e-6)
    assert "commit 0123456789" in wave.source


def test_only_devices_with_steps_are_planned_for():
    bare = Device("bare")
    assert find_device([bare, device({"wave": 1e-3})], None).slug == "some-gpu"
    with pytest.raises(UserError, match=r"no steps of bare in bench/results; there are those of some-gpu"):
        find_device([bare, device({"wave": 1e-3})], "bare")


def test_plans_are_made_from_all_results_that_there_are(monkeypatch, capsys):
    found = [device for device in read_results(RESULTS) if device.matching("step/") and "copy" in device.ceilings]
    assert len(found) > 1
    for one in found:
        monkeypatch.setattr(sys, "argv", ["scale_plan", "--device", one.slug])
        scale_plan.main()
        assert capsys.readouterr().out.count("predicted:") == 2 * len(one.matching("step/"))


def test_what_is_printed_says_that_it_is_predicted(monkeypatch, capsys):
    monkeypatch.setattr(scale_plan, "read_results", lambda folder: [device({"wave": 5e-3, "mnist": 9e-3})])
    monkeypatch.setattr(sys, "argv", ["scale_plan", "--presets", "wave", "--inside", "pcie5", "--reached", "0.5"])
    scale_plan.main()
    printed = capsys.readouterr().out
    assert printed.startswith("# PREDICTIONS for several of Some GPU: nothing below was measured on more than one")
    assert "2 (N-1)/N bytes / speed" in printed and "PCIe 5 x16, 63 GB/s" in printed and "PCI-SIG" in printed
    assert printed.count("predicted:") == 2 and "mnist" not in printed
    assert "| 64 | 8 | 1 |" in printed  # a batch of 64 over 64 GPUs
    monkeypatch.setattr(sys, "argv", ["scale_plan", "--reached", "1.5"])
    with pytest.raises(UserError, match="--reached above 0, up to 1"):
        scale_plan.main()
