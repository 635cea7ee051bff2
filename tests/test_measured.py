"""The noise level that users are shown before a run is the one that the run finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tests.samples import clean_picture

from napari_msdip import Options, denoise, estimate_sigma
from napari_msdip.measured import noise_level

SHAPE = (128, 144)
OPTIONS = Options(device="cpu", threads=1, precision="float32", iterations=2)
OPTIONS = OPTIONS.replace(coarsest_iterations=2)


def noise(width: float = 0.0, seed: int = 0) -> Any:
    values = np.random.default_rng(seed).normal(size=SHAPE)
    values = gaussian_filter(values, width) if width else values
    return 8 * values / values.std()


@pytest.fixture
def picture() -> Any:
    return 200 * clean_picture(SHAPE)


def test_noise_that_neighbours_share_counts(picture: Any) -> None:
    noisy = picture + noise(width=1.0)

    assert noise_level(noisy, OPTIONS) == pytest.approx(8, rel=0.3)
    assert estimate_sigma(noisy) < 2


def test_it_is_what_a_run_reports(picture: Any) -> None:
    noisy = np.stack([picture + noise(), np.full(SHAPE, 3.0), picture + noise(seed=1)])

    found = noise_level(noisy, OPTIONS, channel_axis=0)

    assert found == pytest.approx(8, rel=0.05)
    assert found == denoise(noisy, OPTIONS, channel_axis=0).sigma


# Around those that stay, the level comes from few blocks.
@pytest.mark.parametrize(("removed", "error"), [(False, 0.15), (True, 0.05)])
def test_hot_pixels_are_no_noise(picture: Any, removed: bool, error: float) -> None:
    noisy = picture + noise()
    noisy[8::16, 8::16] += 1000

    options = OPTIONS.replace(remove_hot_pixels=removed)

    assert noise_level(noisy, options) == pytest.approx(8, rel=error)


def test_an_image_without_variation_has_none() -> None:
    assert noise_level(np.full(SHAPE, 7, np.uint8), OPTIONS) == 0
    assert noise_level(np.zeros((2, *SHAPE)), OPTIONS, channel_axis=0) == 0
