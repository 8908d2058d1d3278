"""A step of Adam for a weight that products take in a half type."""

from kernels.adam.op import adam_step
from kernels.adam.reference import Moments

__all__ = ["Moments", "adam_step"]
