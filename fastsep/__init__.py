"""PDE-driven spatiotemporal disentanglement (Donà et al., ICLR 2021), fast on CPU and GPU."""

__version__ = "0.1.0"
