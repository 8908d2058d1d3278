"""The discrete wave equation, stated once: plain functions that both the CPU and the CUDA kernel compile.

One time step of w_tt = c^2 (w_xx + w_yy) + s(t) by the 3/8-rule Runge-Kutta method on (w, w_t). With u = dt w_t and
the scaled accelerations b = dt^2 w_tt its four stages read

    w1 = w                            b1 = K w1 + s1
    w2 = w + u/3                      b2 = K w2 + s2
    w3 = w + 2u/3 + b1/3              b3 = K w3 + s3
    w4 = w + u + b2 - 2 b1/3          b4 = K w4 + s4
    w <- w + u + (b1 + 2 b2 + b3)/8   u <- u + (b1 + 3 b2 + 3 b3 + b4)/8

where K = (c dt/dx)^2 (D_xx + D_yy) and s_i = dt^2 f0 exp(-20 t_i) on the source disc, at the stage times
t_i = t + (0, 1/3, 2/3, 1) dt. The displacements w1 and w2 need no acceleration, and w3 and w4 only those of w1 and w2:
the stages come in two pairs, so a step is two sweeps over the grid, each with two stencils.

All numbers are float32; the constants are typed so that no kernel computes in float64.
"""

from __future__ import annotations

import numpy as np

STENCIL_RADIUS = 2
MIN_GRID = 2 * STENCIL_RADIUS + 1
SOURCE_RADIUS = 5.0
SOURCE_DECAY = 20.0  # 1/s
STAGE_TIMES = (0.0, 1 / 3, 2 / 3, 1.0)  # of the 3/8 rule, in time steps

_CENTRE = np.float32(-5 / 2)
_NEAR = np.float32(4 / 3)
_FAR = np.float32(-1 / 12)
_THIRD = np.float32(1 / 3)
_TWO_THIRDS = np.float32(2 / 3)
_EIGHTH = np.float32(1 / 8)
_TWO = np.float32(2)
_THREE = np.float32(3)


def second_difference(before2, before, here, after, after2):
    """Fourth-order second difference along one axis, in units of the cell size."""
    return _FAR * (before2 + after2) + (_NEAR * (before + after) + _CENTRE * here)


def first_stages(w, u, kw, ku, s1, s2):
    """Stages 1 and 2 from K w and K u: the displacements w3 and w4, and what they give to the new w and u."""
    b1 = kw + s1
    b2 = kw + _THIRD * ku + s2
    w3 = w + (_TWO_THIRDS * u + _THIRD * b1)
    w4 = w + (u + (b2 - _TWO_THIRDS * b1))
    w_part = w + (u + _EIGHTH * (b1 + _TWO * b2))
    u_part = u + _EIGHTH * (b1 + _THREE * b2)
    return w3, w4, w_part, u_part


def last_stages(w_part, u_part, kw3, kw4, s3, s4):
    """Stages 3 and 4 from K w3 and K w4: the new w and u."""
    b3 = kw3 + s3
    b4 = kw4 + s4
    return w_part + _EIGHTH * b3, u_part + _EIGHTH * (_THREE * b3 + b4)
