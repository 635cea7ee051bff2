"""Areas without noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_msdip import denoise
from napari_msdip.padding import padding


def noisy(shape: tuple[int, ...] = (1, 60, 70)) -> Any:
    return np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)


def test_noise_is_no_padding() -> None:
    assert padding(noisy()) is None
    dark = np.random.default_rng(0).poisson(0.1, (1, 300, 300))
    assert padding(dark) is None


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("width", [1, 5, 12])
def test_lines_of_one_value_at_the_edges_are_padding(width: int, turned: bool) -> None:
    image = noisy((2, 60, 70))
    image[0, -width:] = 0
    image[1, :, :width] = 255
    expected = np.zeros(image.shape, bool)
    expected[0, -width:] = expected[1, :, :width] = True
    if turned:
        image, expected = (each.swapaxes(1, 2) for each in (image, expected))
    np.testing.assert_array_equal(padding(image), expected)


def test_areas_of_one_value_are_padding_wherever_they_lie() -> None:
    image = noisy()
    image[0, 20:40, 30:50] = 7
    expected = np.zeros(image.shape, bool)
    expected[0, 20:40, 30:50] = True
    np.testing.assert_array_equal(padding(image), expected)
    # Smaller ones may be anything.
    image = noisy()
    image[0, 20:32, 30:42] = 7
    image[0, 50] = 7
    assert padding(image) is None


def test_short_lines_of_one_value_are_none() -> None:
    image = noisy((1, 60, 12))
    image[0, 0] = 0
    assert padding(image) is None


def test_the_edge_of_a_shifted_image_stays_as_it_is() -> None:
    image = noisy((1, 48, 48))[0]
    image[:4] = image[:, -3:] = 0
    result = denoise(image).image
    assert not result[:4].any()
    assert not result[:, -3:].any()
    assert result[4:, :-3].std() < 5
