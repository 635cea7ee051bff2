"""Hot pixels go, and nothing that light can have made goes with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import data
from tests.samples import clean_picture

from napari_msdip import Options, denoise
from napari_msdip.hot_pixels import without_hot_pixels

SHAPE = (128, 144)


def noisy_picture(seed: int = 0, channels: int = 1) -> Any:
    clean = 100 * clean_picture(SHAPE)
    noise = np.random.default_rng(seed).normal(0, 3, (channels, *SHAPE))
    return (clean + noise).astype(np.float32)


def scattered(count: int, seed: int = 1) -> Any:
    """Places that are no neighbours."""
    rng = np.random.default_rng(seed)
    cells = rng.choice((SHAPE[0] // 8) * (SHAPE[1] // 8), count, replace=False)
    y, x = np.divmod(cells, SHAPE[1] // 8)
    return 8 * y + rng.integers(1, 7, count), 8 * x + rng.integers(1, 7, count)


@pytest.mark.parametrize("height", [80.0, -80.0, 1000.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_hot_and_dead_pixels_are_replaced(height: float, channels: int) -> None:
    image = noisy_picture(channels=channels)
    y, x = scattered(20)
    defective = image.copy()
    defective[-1, y, x] += height

    found = without_hot_pixels(defective)

    assert np.abs(found[-1, y, x] - image[-1, y, x]).max() < 25
    changed = found != defective
    assert set(zip(*np.nonzero(changed), strict=True)) == {
        (channels - 1, *place) for place in zip(y, x, strict=True)
    }


def test_at_the_border_too() -> None:
    image = noisy_picture()
    for place in ((0, 0), (0, 70), (127, 143), (60, 143)):
        image[0, *place] = 500
    assert without_hot_pixels(image).max() < 200


@pytest.mark.parametrize("mean", [0.05, 0.3, 2.0, 20.0])
def test_photons_are_left_alone(mean: float) -> None:
    counts = np.random.default_rng(0).poisson(mean, (1, 256, 256)).astype(np.float32)
    np.testing.assert_array_equal(without_hot_pixels(counts), counts)


@pytest.mark.parametrize("full_width", [1.8, 3.0])
@pytest.mark.parametrize("height", [20, 100, 1000])
def test_spots_seen_through_optics_are_left_alone(full_width: float, height: float) -> None:
    spots = np.zeros(SHAPE)
    spots[scattered(60)] = 1
    spots = gaussian_filter(spots, full_width / 2.355)
    noise = np.random.default_rng(0).normal(0, 2, SHAPE)
    image = (10 + height * spots / spots.max() + noise).astype(np.float32)[np.newaxis]
    np.testing.assert_array_equal(without_hot_pixels(image), image)


@pytest.mark.parametrize("name", ["text", "page", "moon", "clock"])
def test_texture_and_thin_lines_are_left_alone(name: str) -> None:
    image = getattr(data, name)().astype(np.float32)[np.newaxis]
    np.testing.assert_array_equal(without_hot_pixels(image), image)


def test_flat_image_and_input_are_left_alone() -> None:
    flat = np.full((1, 20, 20), 7, np.float32)
    np.testing.assert_array_equal(without_hot_pixels(flat), flat)
    image = noisy_picture()
    image[0, 50, 50] = 900
    before = image.copy()
    without_hot_pixels(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("wanted", [False, True])
def test_they_go_only_if_asked_for(wanted: bool) -> None:
    image = noisy_picture()[0]
    image[40, 50] = 900
    options = Options(
        iterations=20, coarsest_iterations=20, threads=1, remove_hot_pixels=wanted
    )
    found = denoise(image, options).image
    assert (found[40, 50] < 200) == wanted
