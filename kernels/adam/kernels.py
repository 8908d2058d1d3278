"""A Triton kernel for the whole step: 14 bytes a weight read and 14 written, which is all there is to it."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def bias_correction(step, LOG_BETA: tl.constexpr):
    """1 - beta^step, also where that is near zero: there a difference of powers would have few digits."""
    x = step * LOG_BETA
    series = 1.0 + x / 7
    for k in tl.static_range(6, 1, -1):
        series = 1.0 + x / k * series
    return tl.where(x > -0.5, -x * series, 1.0 - tl.exp(x))


@triton.jit
def adam_kernel(
    weight,  # float32, updated, as are the next two
    first,
    second,
    half,  # bfloat16 or float16, written
    grad,  # of the same type
    step,  # (), float32
    rate,  # (), float32
    excess,  # (), float32, read if HAS_EXCESS
    numbers,
    BETA1: tl.constexpr,
    BETA2: tl.constexpr,
    LOG_BETA1: tl.constexpr,
    LOG_BETA2: tl.constexpr,
    EPS: tl.constexpr,
    HAS_EXCESS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """As in reference.py, on BLOCK numbers in the order of their memory."""
    cell = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    alive = cell < numbers
    count = tl.load(step)
    size = tl.load(rate) / bias_correction(count, LOG_BETA1)
    widening = 1.0 / tl.sqrt(bias_correction(count, LOG_BETA2))
    g = tl.load(grad + cell, mask=alive, other=0.0).to(tl.float32)
    if HAS_EXCESS:
        g /= tl.load(excess)
    m = BETA1 * tl.load(first + cell, mask=alive, other=0.0) + (1.0 - BETA1) * g
    v = BETA2 * tl.load(second + cell, mask=alive, other=0.0) + (1.0 - BETA2) * g * g
    w = tl.load(weight + cell, mask=alive, other=0.0) - size * m / (tl.sqrt(v) * widening + EPS)
    tl.store(first + cell, m, mask=alive)
    tl.store(second + cell, v, mask=alive)
    tl.store(weight + cell, w, mask=alive)
    tl.store(half + cell, w.to(half.dtype.element_ty), mask=alive)
