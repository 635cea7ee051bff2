"""What stays of a noisy image whose noise may be texture, or the picture's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift
from skimage import data
from tests._noise.test_kind import REGISTERED
from tests.samples import clean_picture, gravel

from napari_msdip._noise.flattest import measure_noise
from napari_msdip._noise.insurance import share_of_resampled, share_to_keep
from napari_msdip.noise import estimate_sigma


def noisy_share(image: Any) -> float:
    return measure_noise(image, estimate_sigma(image, channel_axis=0)).noisy_share


def test_where_faint_noise_may_be_texture_some_of_it_stays() -> None:
    assert 0.1 < noisy_share(gravel(2.0)) <= 0.4
    assert noisy_share(10 * gravel(2.0)) == pytest.approx(
        noisy_share(gravel(2.0)), abs=0.01
    )
    assert noisy_share(gravel(25.0)) == 0

    drawn = clean_picture((192, 176)) + np.random.default_rng(0).normal(0, 0.01, (192, 176))
    assert noisy_share(drawn[np.newaxis].astype(np.float32)) == 0


def colour(sigma: float, own: Any = 0.0) -> Any:
    """A texture that channels share under noise, and noise that it brought along."""
    rng = np.random.default_rng(0)
    own, added = rng.normal(0, 1, (2, 3, 200, 200)) * np.stack([own * HILL, sigma * FLAT])
    return (data.gravel()[:200, :200] + own + added).astype(np.float32)


FLAT = np.ones((3, 200, 200))
HILL = FLAT * np.linspace(0, 2, 200)


def test_in_colour_noise_stays_that_the_picture_brought_along() -> None:
    assert 0.5 < noisy_share(colour(1.0, own=1.0)) < 0.7
    # The less that is of both noises, the more of them stays.
    assert 0.7 < noisy_share(colour(1.0, own=2.0)) <= 0.85
    assert noisy_share(10 * colour(1.0, own=2.0)) == pytest.approx(
        noisy_share(colour(1.0, own=2.0)), abs=0.01
    )
    # What was added is the same everywhere, and clear noise goes whatever it is.
    assert noisy_share(colour(2.0)) < 0.1
    assert noisy_share(colour(8.0, own=8.0)) < 0.2


def test_in_colour_noise_that_rises_like_photons_hardly_stays() -> None:
    ramp = np.broadcast_to(np.linspace(200, 4000, 200), (3, 200, 200))
    image = np.random.default_rng(0).poisson(ramp).astype(np.float32)
    assert 0 < noisy_share(image) <= 0.25


OWN = dataclasses.replace(
    REGISTERED, correlation=0.02, level=4.0, white=3.2, highest=3.2, roughness=0.88
)


def test_in_gray_faint_noise_stays_that_is_stronger_in_blocks_than_over_all() -> None:
    assert share_to_keep(3.2, OWN, None, doubtful=False) == 0.7
    # So do photons' noise and structure that neighbours share, or that has other levels
    # than the highest frequencies; and clear noise goes whatever it is.
    for change in ({"rise": 1.0}, {"correlation": 0.2}, {"divergence": 1.4}):
        other = dataclasses.replace(OWN, **change)
        assert share_to_keep(3.2, other, None, doubtful=False) == 0
    for level, sigma in ((3.3, 3.2), (8.0, 6.4)):
        other = dataclasses.replace(OWN, level=level)
        assert share_to_keep(sigma, other, None, doubtful=False) == 0


@pytest.mark.parametrize("sigma", [5.0, 10.0])
def test_of_texture_that_passes_for_clear_noise_some_stays(sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, (1, 160, 160))
    image = (data.grass()[176:336, 176:336] + noise).astype(np.float32)
    assert 0.05 < noisy_share(image) <= 0.85


@pytest.mark.parametrize("corner", [(30, 40), (200, 200), (380, 100)])
def test_where_texture_fills_even_the_flattest_blocks_more_stays(
    corner: tuple[int, int],
) -> None:
    rows, columns = (slice(start, start + 112) for start in corner)
    noise = np.random.default_rng(0).normal(0, 6, (1, 112, 112))
    image = (data.grass()[rows, columns] + noise).astype(np.float32)
    assert 0.55 < noisy_share(image) <= 0.85


@pytest.mark.parametrize(("name", "sigma"), [("camera", 2.0), ("grass", 2.0)])
def test_where_texture_explains_levels_and_highest_frequencies_more_stays(
    name: str, sigma: float
) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, (1, 160, 160))
    image = (getattr(data, name)()[352:, 352:] + noise).astype(np.float32)
    assert 0.45 < noisy_share(image) <= 0.85


def test_of_texture_that_passes_for_noise_in_all_channels_some_stays() -> None:
    # With this noise the fur has it measured more than twice too strong.
    noise = np.random.default_rng(0).normal(0, 2, (160, 160, 3))
    image = (data.chelsea()[70:230, 145:305] + noise).astype(np.float32)
    assert 0.1 < noisy_share(np.moveaxis(image, 2, 0)) <= 0.3


@pytest.mark.parametrize("sigma", [30.0, 100.0])
def test_of_noise_among_structure_none_stays(sigma: float) -> None:
    rng = np.random.default_rng(0)
    spots = gaussian_filter(1.0 * (rng.random((160, 160)) < 0.02), 2)
    image = 1000 * spots / spots.max() + rng.normal(0, sigma, (1, 160, 160))
    assert noisy_share(image.astype(np.float32)) == 0


def test_of_resampled_noise_none_stays_where_all_agree() -> None:
    assert share_of_resampled(REGISTERED, 1.03, 1) == 0
    assert share_of_resampled(REGISTERED, 0.97, 1) == 0


@pytest.mark.parametrize("odds", [0.8, 1.25])
def test_of_resampled_noise_whose_level_is_a_guess_some_stays(odds: float) -> None:
    uneven = dataclasses.replace(REGISTERED, unevenness=1.4)
    assert share_of_resampled(REGISTERED, odds, 1) == share_of_resampled(uneven, 1.0, 1)
    assert 0.3 < share_of_resampled(REGISTERED, odds, 1) <= 0.5
    # Channels tell texture from it, and so does a level that rises like photons'.
    assert share_of_resampled(uneven, odds, 3) == 0
    assert share_of_resampled(dataclasses.replace(uneven, rise=1.0), odds, 1) == 0


def test_of_resampled_noise_over_texture_some_stays() -> None:
    white = np.random.default_rng(0).normal(size=(160, 160))
    noise = shift(white, 0.3, order=1, mode="wrap")
    image = data.brick()[:160, -160:] + 4 * noise / noise.std()
    assert 0.3 < noisy_share(image[np.newaxis].astype(np.float32)) <= 0.5
