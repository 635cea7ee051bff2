"""Which filter an image's noise went through, told by its highest frequencies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from benchmarks.drawings import DRAWINGS, tissue
from scipy.ndimage import (
    convolve1d,
    gaussian_filter,
    generate_binary_structure,
    median_filter,
    rotate,
    shift,
    uniform_filter,
    uniform_filter1d,
    zoom,
)
from skimage import data
from skimage.transform import resize
from tests.samples import in_photons, neighbour_correlation

from napari_msdip._noise.blocks import Blocks, cut_blocks
from napari_msdip._noise.filter_bank import FILTER_BLOCK
from napari_msdip._noise.filtered import Filtered, filtered

if TYPE_CHECKING:
    from collections.abc import Callable

DECAY = np.exp(-np.arange(9) / 1.2)
FILTERS: dict[str, Callable[[Any], Any]] = {
    "blurred": lambda image: gaussian_filter(image, 0.8),
    "widely blurred": lambda image: gaussian_filter(image, 1.2),
    "shifted": lambda image: shift(image, 0.3, order=1, mode="reflect"),
    "shifted by splines": lambda image: shift(image, 0.5, order=3, mode="reflect"),
    "scaled": lambda image: zoom(image, 1.3, order=1),
    "turned": lambda image: rotate(image, 7, reshape=False, order=1, mode="reflect"),
    "slow along lines": lambda image: convolve1d(image, DECAY / DECAY.sum()),
}


CROSS = generate_binary_structure(2, 1)
WINDOWS: dict[str, Callable[[Any], Any]] = {
    "mean of 3×3": lambda image: uniform_filter(image, 3),
    "mean of 3×3, twice": lambda image: uniform_filter(uniform_filter(image, 3), 3),
    "mean of 5×5": lambda image: uniform_filter(image, 5),
    "median of a cross": lambda image: median_filter(image, footprint=CROSS),
    "median of 3×3": lambda image: median_filter(image, 3),
    "median of 5×5": lambda image: median_filter(image, 5),
}


def looked_at(planar: Any, step: float = 0.0) -> Filtered:
    blocks = cut_blocks(planar.astype(np.float32), FILTER_BLOCK)
    found = filtered(blocks, step, np.eye(len(planar)))
    assert found is not None
    return found


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.__name__)
@pytest.mark.parametrize("name", FILTERS)
def test_the_noise_behind_a_filter_is_found_whatever_the_structure(
    drawing: Callable[[Any], Any], name: str
) -> None:
    clean, noisy = (FILTERS[name](image) for image in in_photons(drawing, 60, 1))

    found = looked_at(noisy[np.newaxis])

    assert found.is_likely
    assert found.neighbours == pytest.approx(neighbour_correlation(noisy - clean), abs=0.1)
    places = gaussian_filter(noisy, 2)
    variances = np.interp(places, found.intensities, np.square(found.sigmas))
    assert np.sqrt(variances.mean()) == pytest.approx(np.std(noisy - clean), rel=0.35)


@pytest.mark.parametrize("name", WINDOWS)
def test_noise_behind_a_mean_or_a_median_is_unmistakable(name: str) -> None:
    clean = gaussian_filter(1.0 * data.camera()[160:352, 160:352], 6)
    noisy = clean + np.random.default_rng(0).normal(0, 15, clean.shape)
    error = WINDOWS[name](noisy) - WINDOWS[name](clean)

    found = looked_at(WINDOWS[name](noisy)[np.newaxis])

    assert found.is_unmistakable
    assert found.is_clear
    assert found.neighbours == pytest.approx(neighbour_correlation(error), abs=0.08)
    assert np.sqrt(np.mean(found.sigmas**2)) == pytest.approx(np.std(error), rel=0.3)


@pytest.mark.parametrize("filtering", [*FILTERS.values(), lambda image: image])
@pytest.mark.parametrize("name", ["brick", "camera", "coins", "grass"])
def test_nothing_else_passes_for_a_mean_or_a_median(
    name: str, filtering: Callable[[Any], Any]
) -> None:
    clean = getattr(data, name)()[:160, :160]
    noisy = clean + np.random.default_rng(0).normal(0, 5, clean.shape)
    assert not looked_at(filtering(noisy)[np.newaxis]).is_unmistakable


def test_texture_behind_a_mean_adds_little_to_the_level() -> None:
    clean = 1.0 * data.grass()[:192, :192]
    noisy = clean + np.random.default_rng(0).normal(0, 10, clean.shape)
    error = uniform_filter(noisy, 3) - uniform_filter(clean, 3)

    found = looked_at(uniform_filter(noisy, 3)[np.newaxis])

    assert found.misfit > 0.2
    assert found.is_clear
    assert np.sqrt(np.mean(found.sigmas**2)) < 1.4 * np.std(error)


@pytest.mark.parametrize(
    ("name", "sigma"), [("brick", 10), ("camera", 10), ("gravel", 15), ("grass", 25)]
)
def test_texture_does_not_hide_what_lies_far_from_white_noise(
    name: str, sigma: float
) -> None:
    clean = 1.0 * getattr(data, name)()[160:352, 160:352]
    noisy = clean + np.random.default_rng(3).normal(0, sigma, clean.shape)
    between, truth = (
        shift(image, 0.5, order=1, mode="reflect") for image in (noisy, clean)
    )

    found = looked_at(between[np.newaxis])

    assert found.departure > 1.4
    assert found.fits
    assert 0.8 < np.sqrt(np.mean(found.sigmas**2)) / np.std(between - truth) < 1.3


def test_the_farther_from_white_noise_the_less_a_filter_need_fit() -> None:
    far = dataclasses.replace(
        looked_at(in_spots(30, 10)),
        misfit=0.2,
        departure=1.5,
        unevenness=0.3,
        growth=1.1,
        rival=0.2,
    )
    assert far.fits
    assert far.is_likely
    assert not dataclasses.replace(far, departure=1.1).fits
    assert not dataclasses.replace(far, misfit=0.3).fits
    grown = dataclasses.replace(far, growth=1.3)
    assert grown.fits
    assert not grown.is_likely
    assert dataclasses.replace(grown, misfit=0.1).is_likely


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.__name__)
def test_photons_that_no_filter_shared_are_near_to_white(
    drawing: Callable[[Any], Any],
) -> None:
    _, noisy = in_photons(drawing, 60, 1)
    assert not looked_at(noisy[np.newaxis]).is_likely


@pytest.mark.parametrize("name", ["brick", "camera", "grass", "gravel", "page"])
@pytest.mark.parametrize("sigma", [2, 10])
def test_texture_over_white_noise_fits_no_filter(name: str, sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, (1, 160, 160))
    assert not looked_at(getattr(data, name)()[:160, :160] + noise).is_clear


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("pixels", [2, 3])
def test_sums_along_lines_are_among_the_filters(pixels: int, axis: int) -> None:
    noise = np.random.default_rng(0).normal(0, 4, (256, 256))

    found = looked_at(uniform_filter1d(noise, pixels, axis, mode="wrap")[np.newaxis])

    assert found.is_clear
    reach = len(found.correlation) // 2
    along, across = found.correlation[reach + 1, reach], found.correlation[reach, reach + 1]
    expected = (1 - 1 / pixels, 0.0)
    assert ((along, across) if axis == 0 else (across, along)) == pytest.approx(expected)
    assert found.sigmas.mean() == pytest.approx(4 / np.sqrt(pixels), rel=0.1)


def test_the_level_of_noise_that_was_made_twice_as_large_is_found() -> None:
    noise = np.random.default_rng(0).normal(0, 4, (128, 128))
    larger = resize(noise, (256, 256), order=1)

    found = looked_at(larger[np.newaxis])

    assert found.is_clear
    assert found.neighbours == pytest.approx(neighbour_correlation(larger), abs=0.02)
    assert np.sqrt(np.mean(found.sigmas**2)) == pytest.approx(np.std(larger), rel=0.1)


def in_spots(count: int, sigma: float) -> Any:
    rng = np.random.default_rng(1)
    spots = np.zeros((192, 192))
    spots[*rng.integers(0, 192, (2, count))] = rng.uniform(500, 2500, count)
    noise = gaussian_filter(rng.normal(size=spots.shape), 1.0)
    return (gaussian_filter(spots, 1.3) + sigma * noise / noise.std())[np.newaxis]


def test_where_energies_grow_together_spots_stand_for_noise() -> None:
    crowded, single = looked_at(in_spots(700, 2)), looked_at(in_spots(30, 10))

    # What optics made of the spots is like what a blur makes of noise.
    assert crowded.misfit < 0.12
    assert crowded.sigmas.mean() > 3 * 2
    assert crowded.growth > 1.5
    assert not crowded.is_likely
    assert single.growth == pytest.approx(1, abs=0.15)
    assert single.is_clear


def test_rounding_behind_the_filter_is_known_from_its_floor() -> None:
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 4, (256, 256)), 0.8)
    expected = looked_at(noise[np.newaxis]).neighbours

    rounded = looked_at(np.round(noise)[np.newaxis], step=1.0)

    assert rounded.is_clear
    assert rounded.neighbours == pytest.approx(expected, abs=0.05)
    assert rounded.sigmas.mean() == pytest.approx(noise.std(), rel=0.05)


def test_what_channels_share_is_found() -> None:
    rng = np.random.default_rng(0)
    own, common = rng.normal(size=(3, 192, 192)), rng.normal(size=(1, 192, 192))
    planar = np.stack([gaussian_filter(each, 0.8) for each in 0.5 * own + common])
    channels = looked_at(planar).channels
    assert np.trace(channels) == pytest.approx(3)
    assert channels[~np.eye(3, dtype=bool)] == pytest.approx(0.8, abs=0.1)


def test_channels_of_different_filters_share_none() -> None:
    rng = np.random.default_rng(0)
    planar = np.stack([gaussian_filter(rng.normal(size=(192, 192)), w) for w in (0.5, 1.2)])
    blocks = cut_blocks(planar.astype(np.float32), FILTER_BLOCK)
    assert_none_is_shared(blocks)


def assert_none_is_shared(blocks: Blocks) -> None:
    found = filtered(blocks, 0.0, np.eye(2))
    assert found is not None
    assert not (found.is_shared or found.fits or found.is_likely)


def test_a_channel_of_white_noise_speaks_against_a_filter_of_all() -> None:
    rng = np.random.default_rng(0)
    planar = rng.normal(size=(2, 192, 192))
    planar[0] = 9 * gaussian_filter(planar[0], 0.6)
    blocks = cut_blocks(planar.astype(np.float32), FILTER_BLOCK)

    assert looked_at(planar[:1]).is_likely
    assert_none_is_shared(blocks)


def test_a_channel_of_structure_says_nothing_of_the_filter() -> None:
    noisy = gaussian_filter(np.random.default_rng(0).normal(size=(192, 192)), 0.5)
    planar = np.stack([noisy, in_spots(700, 0.1)[0] / 1000])
    blocks = cut_blocks(planar.astype(np.float32), FILTER_BLOCK)
    alone = looked_at(planar[:1])

    found = filtered(blocks, 0.0, np.eye(2))

    assert found is not None
    assert found.is_shared
    assert found.neighbours == pytest.approx(alone.neighbours, abs=0.05)


def test_few_blocks_tell_nothing() -> None:
    planar = in_photons(tissue, 60, 1)[1][np.newaxis, :48, :48]
    blocks = cut_blocks(planar.astype(np.float32), FILTER_BLOCK)
    assert filtered(blocks, 0.0, np.eye(1)) is None


@pytest.mark.parametrize("gain", [1e-3, 1e4])
def test_the_level_follows_the_units(gain: float) -> None:
    noisy = FILTERS["blurred"](in_photons(tissue, 60, 1)[1])[np.newaxis]
    found, scaled = looked_at(noisy), looked_at(gain * noisy)
    np.testing.assert_allclose(scaled.sigmas, gain * found.sigmas, rtol=1e-3)
    np.testing.assert_array_equal(scaled.correlation, found.correlation)
