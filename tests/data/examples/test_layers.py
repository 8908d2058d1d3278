"""The two layers: each keeps its volume, energy only falls, waves have the speeds of theory, fine steps agree."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastsep.data.examples import layers

H1, H2 = layers.DEPTHS
G, R = layers.GRAVITY, layers.RATIO
DT = layers.FRAME_SECONDS / layers.STEPS
TO_THE_END = np.zeros(1, np.uint8)


def draws(number):
    return layers.draw(np.random.default_rng([5, number]))


def thickness(start, f, frames, steps=layers.STEPS):
    out = np.empty((frames, *layers.SHAPE))
    layers.run(start, f, out, steps, 0, layers.FRAME_SECONDS / steps, TO_THE_END)
    return out


@pytest.fixture(scope="module")
def history():
    parameters = draws(0)
    return thickness(layers.at_rest(parameters), parameters[0], 150)


def test_both_layers_keep_their_volume_and_stay_thick(history):
    np.testing.assert_allclose(history.mean((2, 3)), np.tile(layers.DEPTHS, (150, 1)), rtol=1e-12)
    assert history.min() > 0.02


def test_potential_energy_never_exceeds_what_it_began_with(history):
    surface, interface = history.sum(1) - H1 - H2, history[:, 1] - H2
    energy = (R * surface**2 + (1 - R) * interface**2).sum((1, 2))
    assert (energy[1:] <= energy[0]).all()
    assert energy[-50:].mean() < 0.9 * energy[0]
    assert energy[-50:].mean() > 0.01 * energy[0]  # there is something to see to the end


@pytest.mark.parametrize("mode", [0, 1], ids=["surface", "interface"])
def test_waves_have_the_periods_of_theory(mode):
    """In a tank at rest the gravest standing wave of either mode swings as the linear theory says."""
    # c^4 - g (H1 + H2) c^2 + (1 - r) g^2 H1 H2 = 0, and the interface moves 1 - g H1 / c^2 times as far as the surface.
    square = np.roots([1, -G * (H1 + H2), (1 - R) * G * G * H1 * H2])[mode]
    elevation = np.array([1, 1 - G * H1 / square])
    elevation *= 1e-4 / np.abs(elevation).max()
    wave = np.cos(math.pi * (np.arange(48) + 0.5) / 48) * np.ones((48, 1))
    start = np.stack([H1 + (elevation[0] - elevation[1]) * wave, H2 + elevation[1] * wave])
    quarter = round(2 * layers.SHAPE[1] * layers.CELL / math.sqrt(square) / DT / 4)
    out = np.empty((5, *layers.SHAPE))
    layers.run(start, 0.0, out, quarter, 0, DT, TO_THE_END)
    swing = ((out[:, 1] - H2) * wave).sum((1, 2))
    swing /= swing[0]
    assert np.abs(swing[[1, 3]]).max() < 0.05
    assert -swing[2] == pytest.approx(1, abs=0.1) and swing[4] == pytest.approx(1, abs=0.2)  # friction takes some


def test_steps_are_stable_and_fine_enough(history):
    assert math.sqrt(2 * layers.GRAVITY * sum(layers.DEPTHS)) * DT / layers.CELL < 0.8
    parameters = draws(0)
    finer = thickness(layers.at_rest(parameters), parameters[0], 50, 4 * layers.STEPS)
    assert np.square(finer - history[:50]).mean() < 2e-3 * history[:50].var(axis=(0, 2, 3)).mean()


def test_a_rotating_tank_keeps_an_eddy():
    parameters = draws(1)
    turning, still = (thickness(layers.at_rest(parameters), f, 150)[50:, 1].mean(0) - H2 for f in (0.8, 0.0))
    assert np.square(turning).mean() > 2 * np.square(still).mean()


def test_a_sequence_is_a_function_of_its_draws_in_millimetres():
    one, again = np.empty((2, 30, *layers.SHAPE), np.float32)
    for out in (one, again):
        layers.simulate(draws(2), out, TO_THE_END)
    np.testing.assert_array_equal(one, again)
    assert np.isfinite(one).all() and 3 < np.abs(one[:, 1]).max() < 40 and 0.1 < np.abs(one[:, 0]).max() < 10
