"""Batch norm per network call with LeakyReLU."""

from kernels.call_norm.op import call_norm
from kernels.call_norm.shared import Gather

__all__ = ["Gather", "call_norm"]
