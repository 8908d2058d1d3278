"""Max-pooling of 3x3 or 2x2 pixels with stride 2."""

from kernels.max_pool.op import max_pool

__all__ = ["max_pool"]
