"""Convolutions with few channels on one side: from frames into a network, and out to frames."""

from kernels.thin_conv.op import thin_entry, thin_exit

__all__ = ["thin_entry", "thin_exit"]
