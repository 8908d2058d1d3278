"""The table of thin layers is what the presets' steps ask about."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.thin_layers import LAYERS, NORM_EXITS
from fastsep.model import SeparableModel
from fastsep.objective import run_networks
from fastsep.presets import PRESETS
from kernels.choose import asked_for
from kernels.thin_conv import joined, op


@pytest.mark.parametrize("preset", ["mnist", "taxibj", "chairs", "sst"])
def test_table_lists_the_cases_of_a_step(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (op, joined):
        monkeypatch.setattr(module, "gpu_dtype", lambda x: torch.bfloat16)  # as on a GPU, whose kernels are not run
    config = PRESETS[preset]()
    with FakeTensorMode(), torch.autocast("cpu", torch.bfloat16), asked_for() as cases:
        model = SeparableModel(config.model).train()
        video = torch.empty(config.optim.batch_size, config.window, *config.model.shape)
        run_networks(model, video, torch.zeros((), dtype=torch.int64), config.objective)
    found = {(case.op, case.direction): dict(case.facts) for case in cases if case.op in ("thin_entry", "norm_exit")}
    facts = {**LAYERS[preset, "thin_entry"], "dtype": torch.bfloat16}
    expected = {("thin_entry", direction): facts for direction in ("forward", "backward")}
    assert found == expected | {("norm_exit", "forward+backward"): {**NORM_EXITS[preset], "dtype": torch.bfloat16}}
    # What is chosen for the exit and its norm together says how the exit runs: it is not timed by itself.
    assert not any(case.op == "thin_exit" for case in cases)
