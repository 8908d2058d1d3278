"""PDE-driven spatiotemporal disentanglement (Donà et al., ICLR 2021), fast on CPU and GPU.

model = fastsep.load("runs/mine")
future = model.forecast(frames, horizon=40)  # NumPy arrays or tensors, in the data's units
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from fastsep.inference import Forecaster

# OpenMP reads these when PyTorch is loaded, after this. A thread that spins while it waits keeps the core from the
# thread that it waits for as soon as anything else runs on this machine, and training takes ten times as long; one that
# sleeps at once is slow to wake. A few microseconds of spinning cost neither.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}

__version__ = "0.1.0"


def _import_own_kernels() -> None:
    """Import the package ``kernels`` that lies beside this one, whatever ``kernels.py`` the current directory holds."""
    home = Path(__file__).resolve().parent.parent / "kernels"
    present = sys.modules.get("kernels")
    if present is not None:
        if home not in [Path(place).resolve() for place in getattr(present, "__path__", [])]:
            other = getattr(present, "__file__", "another place")
            raise ImportError(f"a module kernels from {other} stands where fastsep's own belongs: import fastsep first")
        return
    spec = importlib.util.spec_from_file_location(
        "kernels", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    module = sys.modules["kernels"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


_import_own_kernels()


def load(run: str | Path, device: str | torch.device = "auto", best: bool = False) -> Forecaster:
    """The newest checkpoint of a run, ready to forecast. PyTorch is imported only now.

    Args:
        run: run directory, as training wrote it.
        device: auto (the GPU where there is one), cpu, cuda or cuda:N.
        best: take the checkpoint with the least error in validation instead.

    Raises:
        fastsep.errors.UserError: there is no run, none of its checkpoints is whole, or the device is not to be had.
    """
    from fastsep.inference import load as load_run

    return load_run(run, device, best)
