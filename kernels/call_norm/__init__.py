"""Batch norm per network call with LeakyReLU."""

from kernels.call_norm.op import call_norm

__all__ = ["call_norm"]
