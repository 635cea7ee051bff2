import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import data
from tests.samples import clean_picture, in_jpeg

from napari_msdip._noise.blocks import LEVEL_BLOCK, cut_blocks
from napari_msdip._noise.model import NoiseModel
from napari_msdip._noise.signs import (
    blockiness,
    bulge,
    divergence,
    rise,
    roughness,
    variety,
)


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


@pytest.mark.parametrize("quality", [50, 75])
@pytest.mark.parametrize("corner", [(0, 0), (3, 5)])
def test_a_jpeg_shows_borders_of_blocks_wherever_it_is_cut(quality, corner):
    noise = np.random.default_rng(0).normal(0, 6, (160, 168))
    image = in_jpeg(60 + 120 * clean_picture(noise.shape) + noise, quality)
    cut = image[corner[0] :, corner[1] :][np.newaxis].astype(np.float32)

    assert blockiness(cut) > 1.12
    assert blockiness(np.tile(cut, (3, 1, 1)) * 10 - 300) == pytest.approx(
        blockiness(cut), rel=1e-3
    )


@pytest.mark.parametrize("name", ["camera", "coins", "grass", "gravel", "brick", "cell"])
@pytest.mark.parametrize("sigma", [2, 10])
def test_other_pictures_show_none(name, sigma):
    picture = getattr(data, name)()[:256, :256]
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    assert blockiness((picture + noise)[np.newaxis]) < 1.1


def test_a_large_jpeg_is_as_blocky_as_a_part_of_it():
    noise = np.random.default_rng(0).normal(0, 6, (1200, 1100))
    image = in_jpeg(60 + 120 * clean_picture(noise.shape) + noise, 50)
    large = image[np.newaxis].astype(np.float32)
    assert blockiness(large) == pytest.approx(blockiness(large[:, :800, :800]), rel=0.03)


def test_lines_along_one_axis_are_no_blocks():
    noise = np.random.default_rng(0).normal(0, 1, (1, 128, 128))
    noise[:, :, ::8] += 4
    assert blockiness(noise) < 1.05


def test_too_few_blocks_tell_nothing():
    small = in_jpeg(np.random.default_rng(0).normal(128, 6, (40, 160)), 50)
    assert blockiness(small[np.newaxis].astype(np.float32)) == 1
    assert blockiness(np.full((3, 128, 128), 7.0, np.float32)) == 1


def variety_of(image):
    return variety(cut_blocks(image.astype(np.float32), LEVEL_BLOCK))


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_variety_of_noise_that_is_the_same_everywhere_is_one(channels):
    noise = np.random.default_rng(0).normal(0, 3, (channels, 200, 200))
    assert variety_of(noise) == pytest.approx(1, abs=0.05)
    # Channels share this texture, so that it is in none of their differences.
    texture = data.grass()[:200, :200]
    assert variety_of(texture + noise) == pytest.approx(variety_of(noise), abs=0.01)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_variety_tells_noise_that_differs_from_place_to_place(channel):
    rng = np.random.default_rng(0)
    image = rng.normal(0, 2, (3, 200, 200))
    image[channel] += np.linspace(0, 6, 200) * rng.normal(size=(200, 200))
    assert variety_of(image) > 1.3
    assert variety_of(10 * image - 300) == pytest.approx(variety_of(image), rel=1e-3)


def test_variety_looks_beside_what_is_clipped():
    noise = np.random.default_rng(0).normal(0, 3, (3, 200, 200))
    noise[:, :, :90] -= 7
    assert variety_of(np.maximum(noise, -5)) == pytest.approx(1, abs=0.06)


def test_too_few_blocks_tell_of_no_variety():
    assert variety_of(np.random.default_rng(0).normal(0, 3, (3, 24, 24))) == 1


def test_noise_that_channels_share_tells_of_no_variety():
    rng = np.random.default_rng(0)
    shared = np.broadcast_to(rng.normal(0, 3, (200, 200)), (3, 200, 200))
    assert variety_of(shared) == 1
    # Rounding leaves some in their differences, and here and there more.
    tinted = shared + np.linspace(0, 0.5, 200) * [[[0.0]], [[1.0]], [[2.0]]]
    assert variety_of(np.rint(tinted)) == 1
