"""PDE-driven spatiotemporal disentanglement (Donà et al., ICLR 2021), fast on CPU and GPU."""

import os

# OpenMP reads it when PyTorch is loaded, after this. A thread that spins while it waits keeps the core from the thread
# that it waits for as soon as anything else runs on this machine: training then takes ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
