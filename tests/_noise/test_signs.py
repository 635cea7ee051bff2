import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_msdip._noise.blocks import cut_blocks
from napari_msdip._noise.model import NoiseModel
from napari_msdip._noise.signs import bulge, divergence, rise, roughness


def model(intensities, sigmas):
    return dataclasses.replace(
        NoiseModel.white(1, 1.0, 1),
        intensities=np.array(intensities, dtype=float),
        sigmas=np.array(sigmas, dtype=float),
    )


def test_levels_rise_with_the_intensity_or_fall():
    count = np.arange(16)
    assert rise(model(count, 3 + count)) == pytest.approx(1)
    assert rise(model(count, 30 - count)) == pytest.approx(-1)


def test_nothing_rises_where_all_is_alike():
    assert rise(model(np.arange(16), np.full(16, 3))) == 0
    assert rise(model(np.zeros(16), np.arange(16))) == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_is_rough_and_soft_structure_is_not(seed):
    white = np.random.default_rng(seed).normal(size=(1, 128, 128))

    def rough(width):
        values = gaussian_filter(white, (0, width, width)) if width else white
        return roughness(cut_blocks(values, 16))

    assert rough(0) == pytest.approx(1 - 9 / 250, abs=0.02)
    assert rough(1.0) > rough(2.0) > 0.4
    assert rough(4.0) < 0.2


def test_levels_bulge_between_dark_and_bright():
    count = np.arange(5)
    assert bulge(model(count, [1, 2, 30, 2, 3])) == 10
    assert bulge(model(count, [5, 2, 1, 2, 3])) == 1
    assert bulge(model(count, [0, 2, 3, 2, 0])) == 1


def growing(width, floor):
    """Noise over a ramp, three times as strong at its bright end, and a white floor."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 100, 192)
    noise = gaussian_filter(rng.normal(size=(1, 192, 192)), (0, width, width))
    noise *= (1 + ramp / 50) / noise.std()
    return ramp + noise + rng.normal(0, floor, noise.shape)


@pytest.mark.parametrize("width", [0.0, 0.6, 1.0])
def test_noise_grows_at_all_frequencies_alike(width):
    assert 0.9 < divergence(cut_blocks(growing(width, 0.0), 8)) < 1.12


def test_structure_over_white_noise_grows_at_low_frequencies():
    assert divergence(cut_blocks(growing(1.0, 1.0), 8)) > 1.3
