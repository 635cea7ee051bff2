"""What stays of a noisy image whose noise may be texture, or the picture's own."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift
from skimage import data
from tests._noise.test_kind import REGISTERED
from tests.samples import clean_picture, gravel

from napari_msdip import Options, denoise
from napari_msdip._noise.flattest import measure_noise
from napari_msdip._noise.insurance import (
    share_in_colour,
    share_in_gray,
    share_of_correlated,
    share_of_resampled,
)
from napari_msdip.noise import estimate_sigma


def noisy_share(image: Any) -> float:
    return measure_noise(image, estimate_sigma(image, channel_axis=0)).noisy_share


def test_where_noise_may_be_texture_some_of_it_stays() -> None:
    assert 0.1 < noisy_share(gravel(2.0)) <= 0.95
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


def in_colour(sigma: float, shared: float = 0.0, **evidence: float) -> float:
    seen = dataclasses.replace(REGISTERED, **evidence)
    return share_in_colour(sigma, seen, 1.0, shared, doubtful=False)


def test_in_colour_noise_among_texture_mostly_stays() -> None:
    texture = {"level": 30.0, "white": 12.5, "excess": 0.4}
    assert in_colour(10.0, **texture) == 0.9
    # Unless the estimators agree, blocks are even, or they hold hardly more.
    assert in_colour(10.0, **texture | {"white": 10.0}) == 0
    assert in_colour(10.0, **texture | {"excess": 0.1}) == 0
    assert in_colour(10.0, **texture | {"level": 20.0}) == 0


def test_in_colour_faint_noise_that_channels_share_mostly_stays() -> None:
    assert in_colour(2.0, shared=0.6, level=3.0) == 0.8
    assert in_colour(2.0, shared=0.6, level=3.0, rise=1.0) == 0.8
    # Unless it is not faint, they hardly share it, or blocks hold no more.
    assert in_colour(20.0, shared=0.6, level=30.0) == 0
    assert in_colour(2.0, shared=0.2, level=3.0) == 0
    assert in_colour(2.0, shared=0.6, level=2.2) == 0


def test_in_colour_grain_that_a_picture_brought_along_mostly_stays() -> None:
    rng = np.random.default_rng(0)
    picture = 255 * clean_picture((200, 200))
    white, added = 3 * rng.normal(size=(200, 200)), rng.normal(size=(3, 200, 200))
    grain = gaussian_filter(white, 0.4)
    assert noisy_share((picture + grain + added).astype(np.float32)) > 0.5
    assert noisy_share((picture + added).astype(np.float32)) == 0
    # White noise that all channels share is no grain, with other noise or without.
    assert noisy_share((picture + white + added).astype(np.float32)) == 0
    tinted = picture + white + [[[0]], [[10]], [[20]]]
    assert noisy_share(np.rint(tinted).astype(np.float32)) == 0


def test_whatever_is_seen_the_share_is_a_share() -> None:
    rng = np.random.default_rng(0)
    names = [field.name for field in dataclasses.fields(REGISTERED)]
    for _ in range(200):
        drawn = np.exp(rng.normal(0, 3, len(names)))
        drawn[rng.random(len(names)) < 0.1] = rng.choice([0.0, math.inf])
        evidence = dataclasses.replace(REGISTERED, **dict(zip(names, drawn, strict=True)))
        sigma, variety = np.exp(rng.normal(size=2))
        shared = rng.random()
        assert 0 <= share_in_gray(sigma, evidence) <= 0.95
        assert 0 <= share_in_colour(sigma, evidence, variety, shared, doubtful=True) <= 0.9
        assert 0 <= share_of_correlated(evidence) <= 0.8
    assert share_in_gray(0.0, REGISTERED) == 0
    assert in_colour(0.0) == 0


def test_units_do_not_matter() -> None:
    levels = ("level", "white", "highest", "contrast")
    hundredfold = {name: 100 * getattr(REGISTERED, name) for name in levels}
    scaled = dataclasses.replace(REGISTERED, **hundredfold)
    share = share_in_gray(5.0, REGISTERED)
    assert 0 < share < 0.95
    assert share_in_gray(500.0, scaled) == pytest.approx(share)


def test_the_more_blocks_hold_beside_the_level_the_more_stays() -> None:
    shares = [
        share_in_gray(5.0, dataclasses.replace(REGISTERED, level=level))
        for level in (5.0, 7.0, 10.0, 20.0)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.1 < shares[-1]


def test_in_gray_some_faint_noise_stays_where_blocks_hold_more_of_it() -> None:
    faint = dataclasses.replace(REGISTERED, level=6.0, white=4.2, contrast=400.0)
    assert share_in_gray(4.2, faint) == 0.8
    # Unless the blocks agree, or it is not faint.
    assert share_in_gray(4.2, dataclasses.replace(faint, level=4.2)) == 0
    assert share_in_gray(4.2, dataclasses.replace(faint, contrast=80.0)) == 0


@pytest.mark.parametrize(
    ("picture", "place", "sigma"),
    [("grass", (176, 176), 5.0), ("grass", (200, 200), 6.0), ("gravel", (0, 0), 2.0)],
)
def test_what_stays_makes_up_for_texture_that_passed_for_noise(
    picture: str, place: tuple[int, int], sigma: float
) -> None:
    rows, columns = (slice(start, start + 112) for start in place)
    clean = getattr(data, picture)()[rows, columns].astype(np.float32)
    noise = np.random.default_rng(0).normal(0, sigma, clean.shape)
    noisy = (clean + noise).astype(np.float32)
    share = noisy_share(noisy[np.newaxis])
    bare = denoise(noisy, Options(guard=False)).image
    kept = share * noisy + (1 - share) * bare
    error, error_bare = (np.mean(np.square(each - clean)) for each in (kept, bare))
    assert error < min(error_bare, np.mean(np.square(noise)))


@pytest.mark.parametrize(("name", "sigma"), [("camera", 2.0), ("grass", 2.0)])
def test_where_texture_passes_for_far_more_noise_than_there_is_much_stays(
    name: str, sigma: float
) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, (1, 160, 160))
    image = (getattr(data, name)()[352:, 352:] + noise).astype(np.float32)
    assert 0.45 < noisy_share(image) <= 0.95


def test_of_texture_that_passes_for_noise_in_all_channels_some_stays() -> None:
    # With this noise the fur has it measured more than twice too strong.
    noise = np.random.default_rng(0).normal(0, 2, (160, 160, 3))
    image = (data.chelsea()[70:230, 145:305] + noise).astype(np.float32)
    assert 0.3 < noisy_share(np.moveaxis(image, 2, 0)) <= 0.8


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


def test_of_faint_resampled_noise_more_stays() -> None:
    shares = [
        share_of_resampled(dataclasses.replace(REGISTERED, contrast=contrast), 1.25, 1)
        for contrast in (1000.0, 170.0, 100.0)
    ]
    assert shares[0] == 0.8
    assert shares == sorted(shares, reverse=True)
    assert shares[2] == 0.5


def test_of_what_neighbours_share_some_stays_if_little_and_faint() -> None:
    own = dataclasses.replace(
        REGISTERED, correlation=0.3, level=2.0, white=1.2, highest=1.1, contrast=200.0
    )
    assert share_of_correlated(own) == 0.8
    # As a camera leaves it, or as there is more of it.
    assert share_of_correlated(dataclasses.replace(own, correlation=0.5)) == 0
    assert share_of_correlated(dataclasses.replace(own, highest=0.6)) == 0
    assert share_of_correlated(dataclasses.replace(own, highest=0.0)) == 0
    assert share_of_correlated(dataclasses.replace(own, contrast=50.0)) == 0


def test_faint_grain_under_fainter_white_noise_mostly_stays() -> None:
    rng = np.random.default_rng(0)
    grain = gaussian_filter(rng.normal(size=(192, 192)), 0.7)
    smooth = 100 * clean_picture((192, 192)) + 3 * grain
    noisy = (smooth + rng.normal(size=(192, 192))).astype(np.float32)
    assert 0.5 < noisy_share(noisy[np.newaxis]) <= 0.8


def test_of_resampled_noise_over_texture_some_stays() -> None:
    white = np.random.default_rng(0).normal(size=(160, 160))
    noise = shift(white, 0.3, order=1, mode="wrap")
    image = data.brick()[:160, -160:] + 4 * noise / noise.std()
    assert 0.3 < noisy_share(image[np.newaxis].astype(np.float32)) <= 0.5
