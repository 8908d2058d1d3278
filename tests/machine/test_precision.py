"""The arithmetic that ``auto`` takes: bf16 wherever the hardware has it, which is most of the speed."""

from __future__ import annotations

import pytest
import torch

from fastsep.machine.precision import resolve_precision

CHECKS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


@pytest.mark.parametrize("units", [(), CHECKS[:1], CHECKS[1:], CHECKS])
def test_cpus_with_units_for_bf16_use_them(units, monkeypatch) -> None:
    for check in CHECKS:  # PyTorch still has them: without, every CPU would compute in float32
        monkeypatch.setattr(torch.cpu, check, lambda check=check: check in units)
    expected = torch.bfloat16 if units else torch.float32
    assert resolve_precision("auto", torch.device("cpu")) == expected
    assert resolve_precision("fp32", torch.device("cpu")) == torch.float32


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_gpus_from_ampere_on_use_bf16(capability, expected, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device("cuda")) == expected
