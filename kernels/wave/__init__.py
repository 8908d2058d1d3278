"""The two-dimensional wave equation with a decaying source."""

from kernels.wave.op import simulate, stability_limit

__all__ = ["simulate", "stability_limit"]
