"""Noise measured again by a first result: nearer to the truth, whatever the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tests.samples import clean_picture, rms

from napari_msdip._noise.model import NoiseModel
from napari_msdip._noise.removed import measure_again

SHAPE = (160, 144)


def correlated(width: float, sigma: float, channels: int = 1, seed: int = 0) -> Any:
    drawn = np.random.default_rng(seed).standard_normal((channels, *SHAPE))
    field = gaussian_filter(drawn, (0, width, width), mode="wrap")
    return field * (sigma / field.std())


def guess(sigma: float, channels: int = 1) -> NoiseModel:
    """Slightly correlated noise of this level, before anything has been measured."""
    correlation = np.zeros((9, 9))
    correlation[4, 3:6] = correlation[3:6, 4] = 0.5
    correlation[4, 4] = 1.0
    return NoiseModel.separable(
        correlation=correlation,
        channels=np.eye(channels),
        intensities=np.array([0.0]),
        sigmas=np.array([sigma]),
    )


def clean(channels: int = 1) -> Any:
    return clean_picture(SHAPE, channels).transpose(2, 0, 1)


def level(model: NoiseModel, image: Any) -> float:
    return rms(model.sigma_map(np.asarray(image, np.float32)))


def measured(first: float, noise: Any, kept: float = 0.0) -> tuple[NoiseModel, Any]:
    """Measure noise of which a result has ``kept`` a share."""
    truth = clean(len(noise))
    noisy = (truth + noise).astype(np.float32)
    result = (truth + kept * noise).astype(np.float32)
    return measure_again(guess(first, len(noise)), noisy, result, result), noisy


@pytest.mark.parametrize("first", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("width", [0.7, 1.5])
def test_a_perfect_result_tells_the_noise_whatever_was_measured_before(
    first: float, width: float
) -> None:
    model, noisy = measured(first, correlated(width, 0.1))

    assert level(model, noisy) == pytest.approx(0.1, rel=0.1)
    expected = np.exp(-1 / (4 * width**2))
    assert model.neighbour_correlation == pytest.approx(expected, abs=0.08)
    assert model.growth == pytest.approx(0.1 / first, rel=0.1)


def test_noise_that_a_result_has_kept_is_missed_in_part_only() -> None:
    noise = correlated(1.0, 0.1)
    found = [level(*measured(0.1, noise, kept)) for kept in (0.0, 0.1, 0.3)]

    assert found == sorted(found, reverse=True)
    # The residual by itself would show 70 %.
    assert found[-1] > 0.08


def test_structure_that_a_result_has_lost_counts_little() -> None:
    truth, noise = clean(), correlated(1.0, 0.1)
    noisy = (truth + noise).astype(np.float32)
    blurred = gaussian_filter(truth, (0, 1, 1)).astype(np.float32)

    model = measure_again(guess(0.1), noisy, blurred, blurred)

    assert 0.095 < level(model, noisy) < 0.13


def test_each_combination_of_channels_has_its_own() -> None:
    grain, blotches = correlated(0.8, 0.1), correlated(2.5, 0.05, seed=1)
    noise = np.concatenate([grain, blotches])

    model, _ = measured(0.1, noise)

    ratio = np.sqrt(model.powers[0] / model.powers[1])
    assert ratio == pytest.approx(2, rel=0.2)
    reach = model.correlations.shape[-1] // 2
    narrow, wide = model.correlations[:, reach, reach + 3]
    assert narrow < 0.2
    assert wide > 0.5


def test_levels_follow_the_intensity() -> None:
    truth = clean()
    noise = correlated(1.0, 0.1) * (0.2 + truth)
    noisy = (truth + noise).astype(np.float32)

    model = measure_again(guess(0.1), noisy, truth.astype(np.float32), truth)

    assert np.all(np.diff(model.intensities) > 0)
    assert model.sigmas[-1] > 2 * model.sigmas[0]
    assert level(model, noisy) == pytest.approx(rms(noise), rel=0.1)


def test_measurement_follows_the_units_and_leaves_the_images_alone() -> None:
    truth = clean(3).astype(np.float32)
    noisy = truth + correlated(1.0, 0.1, 3).astype(np.float32)
    before = noisy.copy(), truth.copy()

    model = measure_again(guess(0.1, 3), noisy, truth, truth)
    scaled = measure_again(guess(100.0, 3), 1000 * noisy, 1000 * truth, 1000 * truth)

    np.testing.assert_allclose(scaled.sigmas, 1000 * model.sigmas, rtol=1e-3)
    np.testing.assert_allclose(scaled.correlations, model.correlations, atol=1e-3)
    np.testing.assert_array_equal(noisy, before[0])
    np.testing.assert_array_equal(truth, before[1])


@pytest.mark.parametrize("case", ["small", "nothing removed", "a constant channel"])
def test_where_there_is_nothing_to_measure_a_usable_model_comes_back(case: str) -> None:
    truth = clean(2).astype(np.float32)
    noise = correlated(1.0, 0.1, 2).astype(np.float32)
    if case == "small":
        truth, noise = truth[:, :24, :24], noise[:, :24, :24]
    elif case == "nothing removed":
        noise[...] = 0
    else:
        truth[1], noise[1] = 0.5, 0
    first = guess(0.1, 2)

    model = measure_again(first, truth + noise, truth, truth)

    assert (model is first) == (case != "a constant channel")
    fields = model.fields((64, 64), 2, np.random.default_rng(0))
    assert np.isfinite(fields).all()
    assert rms(fields) == pytest.approx(1, abs=1e-3)
    assert np.isfinite(model.sigma_map(truth)).all()
