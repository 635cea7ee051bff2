"""A noise model: fresh noise has what the model says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.samples import neighbour_correlation, rms

from napari_msdip._noise.model import NoiseModel, between_pixels


def made_model(width: float, channels: Any) -> NoiseModel:
    offsets = np.arange(-4, 5)
    square = offsets[:, np.newaxis] ** 2 + offsets**2
    correlation = np.exp(-square / (4 * width**2)) if width else (square == 0) * 1.0
    return NoiseModel.separable(
        correlation=correlation,
        channels=np.asarray(channels, dtype=float),
        intensities=np.array([0.0]),
        sigmas=np.array([1.0]),
    )


@pytest.mark.parametrize("width", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("shape", [(96, 96), (61, 130)])
def test_fields_have_unit_variance_and_the_correlation_asked_for(
    width: float, shape: tuple[int, int]
) -> None:
    model = made_model(width, np.eye(1))

    fields = model.fields(shape, 6, np.random.default_rng(0))

    assert fields.shape == (6, 1, *shape)
    assert fields.dtype == np.float32
    assert rms(fields) == pytest.approx(1, abs=1e-3)
    expected = math.exp(-1 / (4 * width**2)) if width else 0.0
    assert neighbour_correlation(fields) == pytest.approx(expected, abs=0.05)
    assert model.neighbour_correlation == pytest.approx(expected)


def test_fields_share_channels_as_asked() -> None:
    wanted = np.array([[1.2, 0.6], [0.6, 0.8]])
    fields = made_model(0.0, wanted).fields((96, 96), 4, np.random.default_rng(0))
    found = np.einsum("kcyx,kdyx->cd", fields, fields) / fields[:, 0].size
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_fields_are_independent_and_depend_on_their_random_numbers_alone() -> None:
    model = made_model(0.8, np.eye(1))
    fields = model.fields((64, 64), 2, np.random.default_rng(0))
    again = model.fields((64, 64), 2, np.random.default_rng(0))

    np.testing.assert_array_equal(fields, again)
    assert abs(float(np.mean(fields[0] * fields[1]))) < 0.15


def test_gains_raise_the_level_where_they_are_and_a_part_keeps_its_own() -> None:
    image = np.zeros((1, 64, 80), np.float32)
    gains = np.linspace(1, 4, 80, dtype=np.float32) * np.ones((64, 1), np.float32)
    model = replace(NoiseModel.white(1, 0.5, 4), gains=gains)
    window = (slice(16, 48), slice(30, 70))

    np.testing.assert_allclose(model.sigma_map(image)[0], 0.5 * gains)
    part = model.part(window).sigma_map(image[:, *window])
    np.testing.assert_allclose(part, model.sigma_map(image)[:, *window])


def test_pixels_of_a_patch_share_what_their_distance_says() -> None:
    correlation = np.arange(25.0).reshape(5, 5)
    between = between_pixels(correlation, 4)
    assert between.shape == (4, 4, 4, 4)
    assert between[1, 2, 1, 2] == correlation[2, 2]
    assert between[3, 0, 1, 1] == correlation[2 + 2, 2 - 1]
    assert between[0, 0, 3, 0] == between[0, 3, 0, 0] == 0
