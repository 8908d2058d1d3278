"""Waves and eddies on the two layers of a fluid in a rotating tank: oil above water, set free from rest.

Both layers follow the shallow-water equations (i = 1 above, 2 below; thickness h, velocity u, elevation of surface and
interface over their places at rest eta):

    dh_i/dt + div(h_i u_i) = 0
    du_i/dt + (f + curl u_i) k x u_i = -grad(p_i + |u_i|^2 / 2) + nu lap(u_i) - drag_i u_i
    p_1 = g eta_1,    p_2 = r g eta_1 + (1 - r) g eta_2,    r = density of the upper over that of the lower layer

on an Arakawa C grid of 48x48 cells with walls around, thickness and pressure forward-backward in time, all else by
Adams and Bashforth's third order. Surface waves cross the tank within seconds, those of the interface in tens of
seconds, and part of what was lifted stays as an eddy.
"""

from __future__ import annotations

import numpy as np

from fastsep.data.examples.compiling import compiled

SHAPE = (2, 48, 48)
VARIABLE, UNITS, MEANING = "elevation", "mm", "elevation of the surface, and of the interface"
CELL = 0.05  # m
FRAME_SECONDS = 0.2
DESCRIPTION = "elevation of the surface and of the interface of two layers in a rotating tank; cells of 5 cm"

DEPTHS = (0.08, 0.12)  # m, above and below
GRAVITY, RATIO = 9.81, 0.85
_ROTATION = (0.2, 0.8)  # f, 1/s
_VISCOSITY, _DRAG = 2e-4, 0.01  # m2/s, 1/s of the lower layer
_HUMPS, _HEIGHTS, _WIDTHS = 2, (0.01, 0.025), (0.25, 0.45)  # of the interface, m
_SURFACE_HEIGHTS = (0.0005, 0.002)
_SPIN_UP = 1.0  # seconds before the first frame
STEPS = 10
"""Time steps a frame: waves cross 0.56 cells in one, and up to 0.71 is stable."""


def draw(random: np.random.Generator) -> np.ndarray:
    """What one sequence is made from, (13,) float64: f, and for each hump x, y, width and height."""
    parameters = [random.uniform(*_ROTATION)]
    for hump in range(_HUMPS + 1):
        heights = _HEIGHTS if hump < _HUMPS else _SURFACE_HEIGHTS
        place = random.uniform(0.2, 0.8, 2) * SHAPE[1] * CELL
        parameters += [*place, random.uniform(*_WIDTHS), random.uniform(*heights) * random.choice([-1, 1])]
    return np.array(parameters)


def simulate(parameters: np.ndarray, out: np.ndarray, stop: np.ndarray) -> None:
    """Fill ``out`` (T, 2, H, W) float32 with elevations in mm. Ends early once ``stop`` (1,) is not 0."""
    steps = round(_SPIN_UP / FRAME_SECONDS) * STEPS
    thickness = np.empty((len(out), *SHAPE))
    run(at_rest(parameters), parameters[0], thickness, STEPS, steps, FRAME_SECONDS / STEPS, stop)
    interface = thickness[:, 1] - DEPTHS[1]
    out[:, 0] = 1e3 * (thickness[:, 0] - DEPTHS[0] + interface)
    out[:, 1] = 1e3 * interface


def at_rest(parameters: np.ndarray) -> np.ndarray:
    """Thickness of both layers before they are set free, (2, H, W) float64 in m; its mean is that of ``DEPTHS``."""
    y, x = (np.mgrid[: SHAPE[1], : SHAPE[2]] + 0.5) * CELL
    elevation = np.zeros(SHAPE)  # of the surface and the interface
    for hump, (left, top, width, height) in enumerate(parameters[1:].reshape(-1, 4)):
        elevation[1 if hump < _HUMPS else 0] += height * np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * width**2))
    elevation -= elevation.mean((1, 2), keepdims=True)
    return np.stack([DEPTHS[0] + elevation[0] - elevation[1], DEPTHS[1] + elevation[1]])


@compiled
def _divergence(h, u, v, out):
    """Of the flux h (u, v): (H, W), from velocities through faces, (H, W + 1) and (H + 1, W), zero at the walls."""
    height, width = h.shape
    for i in range(height):
        for j in range(width):
            east = 0.5 * (h[i, j] + h[i, j + 1]) * u[i, j + 1] if j < width - 1 else 0.0
            west = 0.5 * (h[i, j - 1] + h[i, j]) * u[i, j] if j > 0 else 0.0
            north = 0.5 * (h[i, j] + h[i + 1, j]) * v[i + 1, j] if i < height - 1 else 0.0
            south = 0.5 * (h[i - 1, j] + h[i, j]) * v[i, j] if i > 0 else 0.0
            out[i, j] = (east - west + north - south) / CELL


@compiled
def _turning(u, v, f, drag, spin, energy, du, dv):
    """What rotation, advection, viscosity and drag do to the velocities in a second; walls let slip.

    ``spin`` (H + 1, W + 1) and ``energy`` (H, W) are room for absolute vorticity and kinetic energy.
    """
    height, width = energy.shape
    for i in range(height + 1):
        for j in range(width + 1):
            inside = 0 < i < height and 0 < j < width
            spin[i, j] = f + ((v[i, j] - v[i, j - 1] - u[i, j] + u[i - 1, j]) / CELL if inside else 0.0)
    for i in range(height):
        for j in range(width):
            energy[i, j] = 0.25 * (u[i, j] ** 2 + u[i, j + 1] ** 2 + v[i, j] ** 2 + v[i + 1, j] ** 2)
    for i in range(height):
        for j in range(1, width):
            # Each product is averaged as a whole, which neither makes nor takes energy.
            south = spin[i, j] * (v[i, j - 1] + v[i, j])
            north = spin[i + 1, j] * (v[i + 1, j - 1] + v[i + 1, j])
            below = u[i - 1, j] if i > 0 else u[i, j]
            above = u[i + 1, j] if i < height - 1 else u[i, j]
            bend = u[i, j - 1] + u[i, j + 1] + below + above - 4 * u[i, j]
            du[i, j] = 0.25 * (south + north) - (energy[i, j] - energy[i, j - 1]) / CELL
            du[i, j] += _VISCOSITY * bend / CELL**2 - drag * u[i, j]
    for i in range(1, height):
        for j in range(width):
            west = spin[i, j] * (u[i - 1, j] + u[i, j])
            east = spin[i, j + 1] * (u[i - 1, j + 1] + u[i, j + 1])
            left = v[i, j - 1] if j > 0 else v[i, j]
            right = v[i, j + 1] if j < width - 1 else v[i, j]
            bend = v[i - 1, j] + v[i + 1, j] + left + right - 4 * v[i, j]
            dv[i, j] = -0.25 * (west + east) - (energy[i, j] - energy[i - 1, j]) / CELL
            dv[i, j] += _VISCOSITY * bend / CELL**2 - drag * v[i, j]


@compiled
def _push(above, below, of_surface, of_interface, dt, u, v):
    """Let the pressure gradient under layers of these thicknesses (H, W) act on the velocities for ``dt``."""
    height, width = above.shape
    factor = dt * GRAVITY / CELL
    for i in range(height):
        for j in range(width):
            here = of_surface * (above[i, j] + below[i, j]) + of_interface * below[i, j]
            if j > 0:
                before = of_surface * (above[i, j - 1] + below[i, j - 1]) + of_interface * below[i, j - 1]
                u[i, j] -= factor * (here - before)
            if i > 0:
                before = of_surface * (above[i - 1, j] + below[i - 1, j]) + of_interface * below[i - 1, j]
                v[i, j] -= factor * (here - before)


@compiled
def _advance(field, dt, a, now, b, before, c, earlier):
    """Add ``dt`` times the weighted tendencies to a field; all two-dimensional."""
    for i in range(field.shape[0]):
        for j in range(field.shape[1]):
            field[i, j] += dt * (a * now[i, j] + b * before[i, j] + c * earlier[i, j])


@compiled
def run(start, f, out, steps, spin_up, dt, stop):
    """Thickness (T, 2, H, W) at every ``steps``-th time step after ``spin_up``, from ``start`` (2, H, W).

    ``stop`` (1,) ends it where it stands once it is not 0.
    """
    height, width = start.shape[1:]
    h = start.copy()
    u, v = np.zeros((2, height, width + 1)), np.zeros((2, height + 1, width))
    du, dv = np.zeros((3, 2, height, width + 1)), np.zeros((3, 2, height + 1, width))  # of the last three steps
    spin, energy, change = np.empty((height + 1, width + 1)), np.empty((height, width)), np.empty((height, width))
    for n in range(spin_up + (len(out) - 1) * steps + 1):
        if stop[0]:
            return
        if n >= spin_up and (n - spin_up) % steps == 0:
            out[(n - spin_up) // steps] = h
        now, before, earlier = n % 3, (n - 1) % 3, (n - 2) % 3
        a, b, c = (23 / 12, -16 / 12, 5 / 12) if n > 1 else ((1.5, -0.5, 0.0) if n == 1 else (1.0, 0.0, 0.0))
        for layer in range(2):
            _turning(u[layer], v[layer], f, _DRAG * layer, spin, energy, du[now, layer], dv[now, layer])
        for layer in range(2):
            _divergence(h[layer], u[layer], v[layer], change)
            _advance(h[layer], -dt, 1.0, change, 0.0, change, 0.0, change)
            _advance(u[layer], dt, a, du[now, layer], b, du[before, layer], c, du[earlier, layer])
            _advance(v[layer], dt, a, dv[now, layer], b, dv[before, layer], c, dv[earlier, layer])
        _push(h[0], h[1], 1.0, 0.0, dt, u[0], v[0])
        _push(h[0], h[1], RATIO, 1 - RATIO, dt, u[1], v[1])
