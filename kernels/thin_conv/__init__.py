"""Convolutions with few channels on one side: from frames into a network, and out to frames."""

from kernels.thin_conv.joined import norm_exit
from kernels.thin_conv.op import thin_entry, thin_exit

__all__ = ["norm_exit", "thin_entry", "thin_exit"]
