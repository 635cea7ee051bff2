"""Rounding: whole numbers next to the values, and the same intensity of every area."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_msdip.rounding import rounded


def block_means(values: Any, side: int) -> Any:
    channels, height, width = values.shape
    blocks = values.reshape(channels, height // side, side, width // side, side)
    return blocks.mean(axis=(2, 4))


def smooth(height: int = 64, width: int = 64) -> Any:
    """Two channels of a background that changes by less than one count."""
    y, x = np.mgrid[:height, :width]
    return np.stack([4.3 + 0.002 * x + 0.001 * y, 0.4 - 0.003 * y])


def test_every_value_becomes_the_whole_number_above_or_below() -> None:
    values = 100 * np.random.default_rng(0).standard_normal((3, 45, 53))
    found = rounded(values)
    assert ((found == np.floor(values)) | (found == np.ceil(values))).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 11), (3, 1, 1), (1, 17, 64)])
def test_whole_numbers_stay(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(-300, 300, shape).astype(float)
    np.testing.assert_array_equal(rounded(values), values)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_a_flat_background_keeps_its_intensity(side: int) -> None:
    values = smooth()
    wanted = block_means(values, side)
    assert np.abs(block_means(np.rint(values), side) - wanted).max() > 0.3
    assert np.abs(block_means(rounded(values), side) - wanted).max() <= 0.5 / 8**2


def test_texture_is_rounded_to_the_nearest_almost_everywhere() -> None:
    values = 50 * np.random.default_rng(0).random((1, 128, 128))
    moved = rounded(values) != np.rint(values)
    assert moved.mean() < 0.05
    assert np.abs(values - np.rint(values))[moved].min() > 0.3


def test_what_is_rounded_up_is_spread() -> None:
    found = rounded(smooth()[:1]) - 4
    for half in np.split(found[0, :8, :8], 2):
        assert half.mean() == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("edge", [(61, 64), (64, 59), (3, 5)])
def test_sizes_that_are_no_multiple_of_a_block(edge: tuple[int, int]) -> None:
    values = smooth(*edge)
    found = rounded(values)
    assert found.shape == values.shape
    blocks = np.prod([-(-side // 8) for side in edge])
    lost = np.abs(found.sum((1, 2)) - values.sum((1, 2)))
    assert (lost <= 0.5 * blocks).all()


def test_channels_are_rounded_apart() -> None:
    values = smooth()
    np.testing.assert_array_equal(rounded(values)[1:], rounded(values[1:]))


def test_input_is_not_modified() -> None:
    values = smooth()
    before = values.copy()
    rounded(values)
    np.testing.assert_array_equal(values, before)
