"""What white noise looks like behind the filters that images may have gone through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, median_filter, shift, uniform_filter
from skimage.transform import resize
from tests.samples import neighbour_correlation

from napari_msdip._noise.filter_bank import (
    FILTER_BLOCK,
    HIGHEST,
    filters,
    frequencies,
    taper,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def spectrum_of(noise: Any) -> Any:
    """Mean energies of tapered blocks at the highest frequencies."""
    count = len(noise) // FILTER_BLOCK
    blocks = noise.reshape(count, FILTER_BLOCK, count, FILTER_BLOCK).swapaxes(1, 2)
    tapered = blocks * np.outer(taper(), taper())
    energies = np.square(np.abs(np.fft.fft2(tapered))).mean(axis=(0, 1))
    half = FILTER_BLOCK // 2 + 1
    return energies[:half, :half][frequencies() >= HIGHEST] / noise.var()


def test_the_first_filter_leaves_noise_as_it_is() -> None:
    assert filters().energies[0] == pytest.approx(1)
    correlation = filters().correlation(0)
    assert correlation[len(correlation) // 2, len(correlation) // 2] == 1
    assert np.count_nonzero(correlation) == 1


@pytest.mark.parametrize(
    "filtering",
    [
        lambda noise: gaussian_filter(noise, 0.7, mode="wrap"),
        lambda noise: uniform_filter(noise, 3, mode="wrap"),
        lambda noise: uniform_filter(noise, 5, mode="wrap"),
        lambda noise: median_filter(noise, 3, mode="wrap"),
        lambda noise: median_filter(noise, 5, mode="wrap"),
        lambda noise: shift(noise, 0.5, order=1, mode="grid-wrap"),
        lambda noise: resize(noise[:512, :512], noise.shape, order=1),
        lambda noise: resize(noise[:512, :512], noise.shape, order=3),
    ],
)
def test_noise_that_went_through_a_filter_has_its_spectrum_and_correlation(
    filtering: Callable[[Any], Any],
) -> None:
    noise = filtering(np.random.default_rng(1).standard_normal((1024, 1024)))
    bank = filters()

    ratios = np.log((spectrum_of(noise) + 1e-3) / (bank.energies + 1e-3))
    nearest = int(np.argmin(np.abs(ratios).max(axis=1)))

    assert np.abs(ratios[nearest]).max() < 0.15
    found = bank.correlation(nearest)
    middle = len(found) // 2
    assert found[middle, middle + 1] == pytest.approx(
        neighbour_correlation(noise), abs=0.01
    )


def test_windows_come_last() -> None:
    bank = filters()
    means = bank.correlations[bank.first_window :, 0, 1]
    assert (means > 0.3).all()
    assert len(means) == 13
