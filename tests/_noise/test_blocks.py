"""Blocks of an image less their trend: what is left, and what it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_msdip._noise import blocks
from napari_msdip._noise.blocks import (
    autocorrelation,
    cross_covariance,
    cut_blocks,
    energies,
    spread_blocks,
)

REACH = 4


def white(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def surface(degree: int) -> Any:
    """Return two channels (C, Y, X) of a slope, of degree 2 with a bend."""
    y, x = np.mgrid[:40, :48] / 10.0
    bend = (x * y - x * x + 2 * y * y) * (degree == 2)
    return np.stack([3 * x - y + bend, 7 + y - bend])


def covariance_by_definition(first: Any, second: Any, down: int, across: int) -> float:
    """Return the mean product of pixels so far apart, both ways, over all blocks."""
    side = first.shape[-1]
    total, pairs = 0.0, 0
    for sign in (1, -1):
        moved = sign * down, sign * across
        here, there = zip(*(_overlap(side, shift) for shift in moved), strict=True)
        products = first[(slice(None), *here)] * second[(slice(None), *there)]
        total, pairs = total + products.sum(), pairs + products.size
    return total / pairs


def _overlap(side: int, shift: int) -> tuple[slice, slice]:
    low, high = max(0, shift), min(side, side + shift)
    return slice(low, high), slice(low - shift, high - shift)


@pytest.mark.parametrize(("side", "degree"), [(8, 1), (16, 2)])
def test_nothing_is_left_of_the_trend_that_a_block_may_have(side: int, degree: int) -> None:
    noise = 0.1 * white(2, 40, 48)
    with_trend = cut_blocks(surface(degree) + noise, side)
    without = cut_blocks(noise, side)
    np.testing.assert_allclose(with_trend.residuals, without.residuals, atol=1e-12)
    np.testing.assert_allclose(with_trend.variances, without.variances, atol=1e-12)


def test_blocks_overlap_by_half_and_cover_the_image_in_order() -> None:
    image = white(1, 24, 32)
    blocks = cut_blocks(image, 8)
    expected = [
        image[0, y : y + 8, x : x + 8].mean()
        for y in range(0, 24 - 7, 4)
        for x in range(0, 32 - 7, 4)
    ]
    np.testing.assert_allclose(blocks.means, expected)


def test_blocks_without_variation_are_left_out() -> None:
    image = white(1, 32, 32)
    image[:, :16] = 0.5
    left = cut_blocks(image, 8)
    assert len(left.variances) == 4 * 7
    assert (left.variances > 0).all()


def test_a_bright_spot_hides_no_noise() -> None:
    image = 100 + 5 * white(1, 64, 64)
    image[0, 20:24, 20:24] = 60_000
    assert len(cut_blocks(image.astype(np.float32), 8).variances) == 15 * 15


def test_a_large_image_gives_blocks_from_all_over_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slope = white(2, 300, 200) + np.linspace(0, 1000, 300)[:, np.newaxis]
    everything = cut_blocks(slope, 8)
    monkeypatch.setattr(blocks, "_MOST_VALUES", 2 * 64 * 1000)
    some = cut_blocks(slope, 8)
    assert 900 < len(some.variances) <= 1000
    assert some.residuals.shape == (len(some.variances), 2, 64)
    found = np.isin(some.means, everything.means)
    assert found.all()
    kept = np.searchsorted(np.sort(everything.means), some.means)
    assert np.unique(kept * 10 // len(everything.means)).size == 10
    order = {mean: n for n, mean in enumerate(everything.means)}
    same = [order[mean] for mean in some.means]
    np.testing.assert_array_equal(some.unrest, everything.unrest[same])
    np.testing.assert_array_equal(some.residuals, everything.residuals[same])


def test_unrest_sees_the_surroundings_of_a_block_and_not_what_is_in_it() -> None:
    image = 0.01 * white(1, 56, 56)
    image[0, 24:32, 24:32] += 1
    unrest = cut_blocks(image, 8).unrest.reshape(13, 13)
    assert unrest[6, 6] < 1e-4
    assert unrest[6, 4] == pytest.approx(1 / 8 * 7 / 8, rel=0.1)


def test_clipped_is_the_share_of_darkest_and_brightest_values() -> None:
    image = white(1, 16, 16).clip(-1, 1)
    clipped = cut_blocks(image, 16).clipped
    assert clipped == [np.mean(np.abs(image) == 1)]


def test_covariance_is_that_of_the_definition_times_the_taper() -> None:
    first, second = white(300, 8, 8), white(300, 8, 8, seed=1)
    second[:, 1:] += first[:, :-1]
    found = cross_covariance(first, second, REACH)
    for down, across in ((0, 0), (1, 0), (-1, 0), (2, 3), (3, -1)):
        taper = np.sqrt(1 - np.hypot(down, across) / (REACH + 1))
        expected = taper * covariance_by_definition(first, second, down, across)
        assert found[REACH + down, REACH + across] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [1, 256, 257, 600])
def test_covariance_counts_every_block_once(count: int) -> None:
    one = white(1, 8, 8)
    alone = cross_covariance(one, one, REACH)
    many = np.repeat(one, count, axis=0)
    np.testing.assert_allclose(cross_covariance(many, many, REACH), alone, atol=1e-12)


def test_autocorrelation_is_one_in_the_middle_and_the_same_both_ways() -> None:
    noise = gaussian_filter(white(200, 1, 16, 16), (0, 0, 1, 1))
    found = autocorrelation(noise, REACH)
    assert found[REACH, REACH] == pytest.approx(1)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-12)
    assert found[REACH, REACH + 1] > 0.6


def test_energies_tell_low_from_high_frequencies() -> None:
    smooth = gaussian_filter(white(1, 64, 64), (0, 2, 2))
    low, high = energies(cut_blocks(smooth, 8))
    assert high.mean() < 1e-3 * low.mean()
    low, high = energies(cut_blocks(white(1, 64, 64), 8))
    assert high.mean() == pytest.approx(1, rel=0.1)
    assert low.mean() == pytest.approx(1, rel=0.1)


def test_spread_blocks_are_the_same_places_of_every_image_of_a_size() -> None:
    image = white(2, 50, 70)
    residuals, means = spread_blocks(image, 16, most=3)
    assert residuals.shape == (9, 2, 256)
    assert means.shape == (9,)
    shifted, raised = spread_blocks(image + 5, 16, most=3)
    np.testing.assert_allclose(shifted, residuals, atol=1e-12)
    np.testing.assert_allclose(raised, means + 5)
