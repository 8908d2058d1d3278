"""Smoke of pulsing chimneys that drifts past obstacles in a swaying wind.

    dc/dt + div(v c) = kappa lap(c) - decay c + emission,    v = speed (wind + sway sin(frequency t + phase) eddies)

on 96x64 cells of 1 m. Both parts of the wind are curls of stream functions that are constant along walls and obstacles:
their flux through a cell's faces adds up to zero, and none goes through an obstacle. Clean air enters below, and what
leaves above is gone.

Letters: H rows (along the wind), W columns.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from fastsep.data.examples.compiling import compiled

SHAPE = (1, 96, 64)
VARIABLE, UNITS, MEANING = "smoke", "g m-3", "concentration of smoke"
CELL = 1.0  # m
FRAME_SECONDS = 2.0
DESCRIPTION = "smoke of two pulsing chimneys, carried past obstacles by a swaying wind; cells of 1 m"

_OBSTACLES = ((26.0, 20.0, 6.5), (34.0, 46.0, 5.0), (54.0, 33.0, 8.0), (72.0, 13.0, 5.5), (76.0, 52.0, 4.0))
"""Row, column and radius of each, in m."""
_SPEEDS = (0.8, 1.3)
_SWAYS = (0.1, 0.35)
_SWAY_SECONDS = (40.0, 80.0)
_PULSE_SECONDS = (16.0, 32.0)
_SOURCE_ROWS, _SOURCE_COLUMNS, _SOURCE_RADIUS = (5.0, 12.0), (10.0, 54.0), 2.5
_RATES = (0.5, 1.0)
_KAPPA, _DECAY = 0.08, 1 / 90  # m2/s, 1/s
_SPIN_UP = 60.0  # seconds before the first frame
_SWEEPS, _OVERRELAXATION = 2000, 1.9


def draw(random: np.random.Generator) -> np.ndarray:
    """What one sequence is made from, (14,) float64."""
    speed, sway, seconds = (random.uniform(*span) for span in (_SPEEDS, _SWAYS, _SWAY_SECONDS))
    wind = [speed, sway, 2 * math.pi / seconds, random.uniform(0, 2 * math.pi)]
    for _ in range(2):
        place = [random.uniform(*_SOURCE_ROWS), random.uniform(*_SOURCE_COLUMNS)]
        pulse = [2 * math.pi / random.uniform(*_PULSE_SECONDS), random.uniform(0, 2 * math.pi)]
        wind += [*place, *pulse, random.uniform(*_RATES)]
    return np.array(wind)


def simulate(parameters: np.ndarray, out: np.ndarray, stop: np.ndarray) -> None:
    """Fill ``out`` (T, 1, H, W) float32; cells of obstacles become NaN. Ends early once ``stop`` (1,) is not 0."""
    flows = [velocity for stream in _stream_functions() for velocity in velocities(stream)]
    _run(parameters, *flows, fluid(), out[:, 0], _steps(), _spin_up_steps(), FRAME_SECONDS / _steps(), stop)
    out[:, 0, ~fluid()] = np.nan


@cache
def fluid() -> np.ndarray:
    """The cells that are no obstacle, (H, W) bool."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]] + 0.5
    return np.all([(rows - y) ** 2 + (columns - x) ** 2 > r**2 for y, x, r in _OBSTACLES], axis=0)


@cache
def _stream_functions() -> tuple[np.ndarray, np.ndarray]:
    """Of the steady wind of 1 m/s, and of eddies that turn by turns; (H + 1, W + 1) each, at the corners of cells."""
    height, width = SHAPE[1:]
    y, x = np.mgrid[: height + 1, : width + 1].astype(np.float64)
    fixed = np.ones(y.shape, bool)
    fixed[1:-1, 1:-1] = False
    wind, eddies = -x, np.zeros_like(x)
    for row, column, radius in _OBSTACLES:
        solid = np.pad((y[:-1, :-1] + 0.5 - row) ** 2 + (x[:-1, :-1] + 0.5 - column) ** 2 <= radius**2, 1)
        corners = solid[1:, 1:] | solid[1:, :-1] | solid[:-1, 1:] | solid[:-1, :-1]
        wind[corners] = -column
        fixed |= corners
    turning = np.sin(2 * math.pi * y / 48) * np.sin(math.pi * x / width)
    for field, source in ((wind, 0 * x), (eddies, turning)):
        _relax(field, source, fixed)
    return wind, eddies / np.abs(np.diff(eddies, axis=1)).max()


@compiled
def _relax(field, source, fixed):
    """Solve lap(field) = -source where it is not fixed, by successive over-relaxation."""
    for _ in range(_SWEEPS):
        for i in range(1, field.shape[0] - 1):
            for j in range(1, field.shape[1] - 1):
                if not fixed[i, j]:
                    around = field[i - 1, j] + field[i + 1, j] + field[i, j - 1] + field[i, j + 1]
                    field[i, j] += _OVERRELAXATION * (0.25 * (around + source[i, j]) - field[i, j])


@cache
def _steps() -> int:
    """Time steps a frame: in none may more leave a cell than is in it, at the fastest wind and the strongest sway."""
    wind, eddies = _stream_functions()
    out = np.zeros(SHAPE[1:])
    for sway in (-_SWAYS[1], _SWAYS[1]):
        along, across = velocities(_SPEEDS[1] * (wind + sway * eddies))
        leaving = [np.maximum(-along[:-1], 0), np.maximum(along[1:], 0)]
        leaving += [np.maximum(-across[:, :-1], 0), np.maximum(across[:, 1:], 0)]
        out = np.maximum(out, sum(leaving))
    # A limited slope makes a face at most 1.5 times as dense as its cell.
    return math.ceil(FRAME_SECONDS * (1.5 * out.max() + 4 * _KAPPA + _DECAY))


def _spin_up_steps() -> int:
    return round(_SPIN_UP / FRAME_SECONDS) * _steps()


def velocities(stream: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Through the faces of cells, along rows' axis (H + 1, W) and across (H, W + 1), of a stream function."""
    return stream[:, :-1] - stream[:, 1:], stream[1:] - stream[:-1]


@compiled
def _slope(before, here, after):
    """The smaller of two slopes that agree in sign, else 0."""
    a, b = here - before, after - here
    return 0.0 if a * b <= 0 else (a if abs(a) < abs(b) else b)


@compiled
def _tendency(c, along, across, fluid, out):
    """What flow, diffusion and decay do to c (H + 4, W + 4), two cells of margin around it, in a second; (H, W)."""
    height, width = fluid.shape[0] - 4, fluid.shape[1] - 4
    for i in range(height):
        for j in range(width):
            out[i, j] = -_DECAY * c[i + 2, j + 2]
    for i in range(height + 1):
        for j in range(width):
            v, y, x = along[i, j], i + 2, j + 2  # the face below cell (y, x)
            up = y - 1 if v > 0 else y
            slope = 0.0
            if fluid[up - 1, x] and fluid[up, x] and fluid[up + 1, x]:
                slope = _slope(c[up - 1, x], c[up, x], c[up + 1, x])
            flux = v * (c[up, x] + (0.5 if v > 0 else -0.5) * slope)
            if 0 < i < height and fluid[y - 1, x] and fluid[y, x]:
                flux -= _KAPPA * (c[y, x] - c[y - 1, x])
            if i > 0:
                out[i - 1, j] -= flux
            if i < height:
                out[i, j] += flux
    for i in range(height):
        for j in range(1, width):
            v, y, x = across[i, j], i + 2, j + 2
            up = x - 1 if v > 0 else x
            slope = 0.0
            if fluid[y, up - 1] and fluid[y, up] and fluid[y, up + 1]:
                slope = _slope(c[y, up - 1], c[y, up], c[y, up + 1])
            flux = v * (c[y, up] + (0.5 if v > 0 else -0.5) * slope)
            if fluid[y, x - 1] and fluid[y, x]:
                flux -= _KAPPA * (c[y, x] - c[y, x - 1])
            out[i, j - 1] -= flux
            out[i, j] += flux


@compiled
def _run(parameters, wind_along, wind_across, eddies_along, eddies_across, open_cells, out, steps, spin_up, dt, stop):
    """Heun's method in its form that keeps what is not negative so."""
    frames, height, width = out.shape
    fluid = np.zeros((height + 4, width + 4), np.bool_)
    fluid[2:-2, 2:-2] = open_cells
    sources = np.zeros((2, height, width))
    for s in range(2):
        row, column = parameters[4 + 5 * s], parameters[5 + 5 * s]
        for i in range(height):
            for j in range(width):
                far = ((i + 0.5 - row) ** 2 + (j + 0.5 - column) ** 2) / _SOURCE_RADIUS**2
                if open_cells[i, j] and far < 9:
                    sources[s, i, j] = parameters[8 + 5 * s] * math.exp(-0.5 * far)
    c = np.zeros((height + 4, width + 4))
    half = np.zeros_like(c)
    change = np.empty((height, width))
    along, across = np.empty_like(wind_along), np.empty_like(wind_across)
    for n in range(spin_up + (frames - 1) * steps + 1):
        if stop[0]:
            return
        if n >= spin_up and (n - spin_up) % steps == 0:
            for i in range(height):
                for j in range(width):
                    out[(n - spin_up) // steps, i, j] = c[i + 2, j + 2]
        time = (n - spin_up) * dt
        speed, sway = parameters[0], parameters[1] * math.sin(parameters[2] * time + parameters[3])
        _blow(speed, wind_along, sway, eddies_along, along)
        _blow(speed, wind_across, sway, eddies_across, across)
        _tendency(c, along, across, fluid, change)
        for i in range(height):
            for j in range(width):
                half[i + 2, j + 2] = c[i + 2, j + 2] + dt * change[i, j]
        _tendency(half, along, across, fluid, change)
        puff = 0.5 + 0.5 * math.cos(parameters[6] * time + parameters[7])
        other = 0.5 + 0.5 * math.cos(parameters[11] * time + parameters[12])
        for i in range(height):
            for j in range(width):
                after = 0.5 * (c[i + 2, j + 2] + half[i + 2, j + 2] + dt * change[i, j])
                c[i + 2, j + 2] = after + dt * (puff**2 * sources[0, i, j] + other**2 * sources[1, i, j])


@compiled
def _blow(speed, wind, sway, eddies, out):
    """Velocities through faces at one time; all two-dimensional."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = speed * (wind[i, j] + sway * eddies[i, j])
