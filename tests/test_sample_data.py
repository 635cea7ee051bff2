"""Every sample is noisy, comes with its truth, and is the same each time."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Layer

from napari_msdip import _sample_data

SAMPLES = {
    "cells": lambda: _sample_data.cells(size=96),
    "photograph": lambda: _sample_data.photograph(size=96),
    "stack": lambda: _sample_data.stack(shape=(4, 48, 48)),
}


@pytest.fixture(params=SAMPLES)
def sample(request):
    return SAMPLES[request.param]


def test_the_truth_is_what_the_noise_was_added_to(sample):
    (clean, _, _), (noisy, _, _) = sample()
    assert clean.shape == noisy.shape and clean.dtype == noisy.dtype
    difference = noisy.astype(float) - clean
    unclipped = (noisy > noisy.min()) & (noisy < noisy.max())
    assert difference.std() > 5
    assert abs(difference[unclipped].mean()) < 0.1 * difference.std()
    assert noisy.std() > clean.std()


def test_a_sample_is_the_same_each_time(sample):
    for first, second in zip(sample(), sample(), strict=True):
        np.testing.assert_array_equal(first[0], second[0])


def test_a_sample_opens_as_layers_with_the_truth_hidden(sample):
    truth, noisy = (Layer.create(*entry) for entry in sample())
    assert "truth" in truth.name and not truth.visible
    assert noisy.visible
    np.testing.assert_array_equal(truth.scale, noisy.scale)


def test_the_cells_are_16_bit_and_know_their_pixel_size():
    noisy = Layer.create(*_sample_data.cells(size=96)[1])
    assert noisy.dtype == np.uint16
    assert [str(unit) for unit in noisy.units] == ["micrometer"] * 2
    assert noisy.axis_labels == ("y", "x")


def test_the_photograph_has_the_noise_it_says():
    (clean, _, _), (noisy, _, _) = _sample_data.photograph(size=128, sigma=10)
    middle = (clean > 50) & (clean < 200)
    difference = noisy[middle].astype(float) - clean[middle]
    assert difference.std() == pytest.approx(10, rel=0.05)


def test_the_stack_steps_further_in_z_than_across():
    noisy = Layer.create(*_sample_data.stack(shape=(4, 48, 48))[1])
    assert noisy.ndim == 3
    assert noisy.scale[0] > noisy.scale[1]
