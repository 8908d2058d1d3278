"""A 3x3 convolution of an image doubled by nearest neighbours."""

from kernels.doubled_conv.op import doubled_conv

__all__ = ["doubled_conv"]
