"""Noise that differs from place to place is found, and texture is not taken for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage import data
from tests.samples import clean_picture, rms

from napari_msdip._noise.flattest import measure_noise
from napari_msdip._noise.gains import local_gains
from napari_msdip._noise.model import NoiseModel
from napari_msdip.noise import estimate_sigma

SHAPE = (160, 176)
SIGMA = 0.04


def two_halves(ratio: float, channels: int = 1, seed: int = 0) -> Any:
    """Return a picture with noise that is stronger in its right half."""
    levels = np.full(SHAPE, SIGMA)
    levels[:, SHAPE[1] // 2 :] *= ratio
    noise = levels * np.random.default_rng(seed).normal(size=(channels, *SHAPE))
    return (clean_picture(SHAPE, channels).transpose(2, 0, 1) + noise).astype(np.float32)


def measured(image: Any) -> NoiseModel:
    return measure_noise(image, estimate_sigma(image, channel_axis=0))


@pytest.mark.parametrize("ratio", [1.6, 3.0, 6.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_level_follows_the_field(ratio: float, channels: int) -> None:
    image = two_halves(ratio, channels)

    level = measured(image).sigma_map(image)[0]

    middle = SHAPE[1] // 2
    assert rms(level[:, : middle - 40]) == pytest.approx(SIGMA, rel=0.2)
    assert rms(level[:, middle + 40 :]) == pytest.approx(ratio * SIGMA, rel=0.15)


@pytest.mark.parametrize("sigma", [2.0, 15.0])
@pytest.mark.parametrize("picture", ["camera", "brick", "grass", "page", "text", "moon"])
def test_pictures_under_even_noise_have_none(picture: str, sigma: float) -> None:
    clean = getattr(data, picture)()[:160, :160].astype(float)
    noise = sigma * np.random.default_rng(0).normal(size=clean.shape)
    assert measured((clean + noise)[np.newaxis].astype(np.float32)).gains is None


@pytest.mark.parametrize("photons", [5, 60])
def test_noise_that_grows_with_the_intensity_has_none(photons: int) -> None:
    shown = np.random.default_rng(0).poisson(photons * clean_picture(SHAPE))
    assert measured(shown[np.newaxis].astype(np.float32)).gains is None


def test_hot_pixels_are_no_noise() -> None:
    image = two_halves(1.0)
    hot = np.random.default_rng(1).random(SHAPE) < 0.01
    image[:, hot] += 2
    assert measured(image).gains is None


def test_an_image_smaller_than_a_window_has_none() -> None:
    image = two_halves(3.0)[:, :40, 60:140]
    assert local_gains(image, NoiseModel.white(1, SIGMA, 4)) is None


def test_it_follows_the_units() -> None:
    image = two_halves(3.0)
    found = local_gains(image, NoiseModel.white(1, SIGMA, 4))
    scaled = local_gains(1024 * image, NoiseModel.white(1, 1024 * SIGMA, 4))
    assert found is not None
    assert scaled is not None
    np.testing.assert_allclose(scaled, found, rtol=1e-4)
